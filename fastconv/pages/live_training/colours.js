// Colours of the style sheet, as numbers that pixels can be mixed from.

const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function parts(name) {
  probe.fillStyle = colour(name);
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
}

function mixed(table, begin, from, to, count) {
  for (let i = 0; i < count; i += 1) {
    const share = i / (count - 1);
    for (let part = 0; part < 3; part += 1) {
      table[4 * (begin + i) + part] = from[part] + share * (to[part] - from[part]);
    }
    table[4 * (begin + i) + 3] = 255;
  }
}

// The RGBA of all 256 bytes, from one colour to another.
export function ramp(from, to) {
  const table = new Uint8ClampedArray(1024);
  mixed(table, 0, parts(from), parts(to), 256);
  return table;
}

// The same through the colour of 128.
export function ramp3(low, middle, high) {
  const table = new Uint8ClampedArray(1024);
  mixed(table, 0, parts(low), parts(middle), 129);
  mixed(table, 128, parts(middle), parts(high), 128);
  return table;
}
