// What is computed from the page's numbers. Rows and columns count from the corner of the padded image.

const numbers = JSON.parse(document.getElementById("data").textContent);

/** Steps along one side: `exact` as the formula says, `out` whole ones, `left` pixels behind the last window. */
function sizeOf({ F, S, P }) {
  const room = numbers.size - F + 2 * P;
  const exact = room / S + 1;
  if (room < 0) return { fits: false, exact, out: 0, left: 0 };
  return { fits: true, exact, out: Math.floor(exact), left: room % S };
}

function sizesOf(set) {
  return Object.keys(numbers.sets[set].banks).map(Number);
}

function bankOf(setting) {
  return numbers.sets[setting.set].banks[setting.F];
}

/** The pixel at a place, or null in the padding. */
function pixelAt(channel, row, column, P) {
  const [y, x] = [row - P, column - P];
  const isInside = y >= 0 && x >= 0 && y < numbers.size && x < numbers.size;
  return isInside ? numbers.values[channel][y * numbers.size + x] : null;
}

/** The taps of one channel under an output: pixel, weight and product of each, and their sum. */
function channelTaps(setting, channel, { k, row, column }) {
  const { F, S, P } = setting;
  const taps = bankOf(setting).weight[k][channel].map((weight, tap) => {
    const pixel = pixelAt(channel, row * S + Math.floor(tap / F), column * S + (tap % F), P);
    return { pixel, weight, product: (pixel ?? 0) * weight };
  });
  return { taps, sum: taps.reduce((total, tap) => total + tap.product, 0) };
}

/** One output with everything that it is made of. */
function outputAt(setting, place) {
  const channels = numbers.channels.map((_, channel) => channelTaps(setting, channel, place));
  const bias = bankOf(setting).bias[place.k];
  return { channels, bias, value: channels.reduce((total, { sum }) => total + sum, bias) };
}

/** The place of a step: filter by filter, row by row. */
function placeOf(step, out) {
  return { k: Math.floor(step / (out * out)), row: Math.floor(step / out) % out, column: step % out };
}

function allOutputs(setting) {
  const { out } = sizeOf(setting);
  return Array.from({ length: setting.K * out * out }, (_, step) => outputAt(setting, placeOf(step, out)).value);
}

/** What fastconv answered for a setting: {shape, values} of all filters, or {refusal}. */
function answerOf({ set, F, S, P }) {
  return numbers.sets[set].answers[`${F},${S},${P}`];
}

/** The positions along one side that some window covers. */
function readPositions({ F, S }, out) {
  const read = new Set();
  for (let o = 0; o < out; o++) for (let tap = 0; tap < F; tap++) read.add(o * S + tap);
  return read;
}
