// The dot product of one step: every product, their sums by channel, and the sum of those with the bias.

// With more taps in a row a weight stands below its pixel.
const NARROW = 4;

function drawArithmetic(setting, output) {
  const all = output.channels.flatMap(({ taps }) => taps);
  const products = all.map(({ product }) => product);
  const greatest = greatestOf(products);
  const factorRoom = roomFor(longest(all.flatMap(({ pixel, weight }) => [pixel ?? 0, weight])) + 1.3); // and the sign
  const blocks = output.channels.map(({ taps, sum }, channel) => {
    const name = numbers.channels[channel];
    const made = grid(setting.F, longest(products), setting.F > NARROW ? "taps tall" : "taps", ...taps.map((tap) => tapCell(tap, channel, greatest)));
    made.style.setProperty("--factor-room", factorRoom);
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", `${name}: ${taps.map(spokenTap).join(", ")}; sum ${signed(sum)}`);
    const total = element("p", "sum", `Σ ${name} = `, element("b", "", signed(sum)));
    return element("div", `block ${name}`, made, total);
  });
  byId("arithmetic").style.setProperty("--planes", blocks.length);
  byId("arithmetic").replaceChildren(...blocks);
  drawEquation(output);
}

function tapCell({ pixel, weight, product }, channel, greatest) {
  const left = element("i", pixel === null ? "factor padding" : "factor", String(pixel ?? 0));
  if (pixel !== null) tint(left, channel, pixel);
  const right = element("i", "factor weight", signed(weight));
  const cell = element("span", "tap", element("span", "factors", left, right), element("b", "", signed(product)));
  shade(cell, product, greatest);
  return cell;
}

function spokenTap({ pixel, weight }) {
  return `${pixel ?? 0} times ${signed(weight)}`;
}

function drawEquation({ channels, bias, value }) {
  const [first, ...others] = [...channels.map(({ sum }) => sum), bias];
  const names = [...numbers.channels, "bias"];
  const added = others.flatMap((number, index) => [sign("+"), term(bracketed(number), names[index + 1])]);
  byId("equation").replaceChildren(term(signed(first), names[0]), ...added, sign("="), term(signed(value), "output"));
}

function term(number, name) {
  return element("span", `term ${name}`, element("b", "", number), element("small", "", name));
}

function sign(text) {
  return element("span", "sign", text);
}

/** The step in one sentence, for those who do not see it. */
function spoken({ k, row, column }, { channels, bias, value }) {
  const sums = channels.map(({ sum }, channel) => `${numbers.channels[channel]} ${signed(sum)}`);
  const where = `Filter ${k + 1}, row ${row + 1}, column ${column + 1}`;
  return `${where}: ${sums.join(", ")}, bias ${signed(bias)}, output ${signed(value)}`;
}
