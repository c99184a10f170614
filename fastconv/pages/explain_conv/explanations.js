// What is said about a setting in words: the formula with its numbers, and why it fits, divides, or does not.

const MINUS = "\u2212";
const EQUALS = "\u00a0=\u00a0"; // which no line ends at

function signed(value) {
  return value < 0 ? MINUS + -value : String(value);
}

/** A number that follows another sign: negative ones in brackets. */
function bracketed(value) {
  return value < 0 ? `(${signed(value)})` : String(value);
}

function decimal(value) {
  return signed(Number(value.toFixed(2)));
}

function grouped(value) {
  return value.toLocaleString("en");
}

/** The choices of one letter, the others kept, with which the filter fits and its steps come out even. */
function evenChoices(setting, letter, offered) {
  return offered.filter((value) => {
    const { fits, left } = sizeOf({ ...setting, [letter]: value });
    return fits && left === 0 && value !== setting[letter];
  });
}

function waysOut(setting, offers, beginning) {
  const ways = Object.entries(offers).map(([letter, offered]) => [letter, evenChoices(setting, letter, offered)]);
  const named = ways.filter(([, values]) => values.length).map(([letter, values]) => `${letter}${EQUALS}${listed(values)}`);
  return named.length ? `${beginning} with ${named.join("; or ")}.` : "";
}

function listed(values) {
  return values.length < 2 ? values.join("") : `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;
}

function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** {state: "good" | "uneven" | "unfit", title, text} */
function verdictOf(setting, offers) {
  const { F, S, P } = setting;
  const { fits, exact, out, left } = sizeOf(setting);
  const padded = numbers.size + 2 * P;
  if (!fits) {
    const image = P ? "padded image" : "image";
    const text = `It is ${F} wide, the ${image} only ${padded}: there is no place for it, and no output.`;
    const ways = waysOut(setting, offers, "It fits, and evenly,");
    return { state: "unfit", title: "The filter does not fit.", text: `${text} ${ways}`, refusal: answerOf(setting).refusal };
  }
  if (left) {
    const rest = left === 1 ? "a row and a column are" : `${left} rows and ${left} columns are`;
    const text =
      `${decimal(exact)} is no whole number: behind step ${out}, ${rest} left, too few for a stride of ${S}; another ` +
      `step would stick out (dashed). fastconv rounds down to ${out} and never reads them.`;
    const ways = waysOut(setting, offers, "It divides");
    return { state: "uneven", title: "The stride does not divide evenly.", text: `${text} ${ways}` };
  }
  return { state: "good", title: `${plural(out, "step")} along each side.`, text: remark(setting, out, padded) };
}

function remark({ F, S, P }, out, padded) {
  if (F === padded) return "The filter covers everything: its one output is that of a fully connected neuron.";
  if (S > F) return "The stride is larger than the filter: pixels between the windows are never read.";
  if (P >= F) return "So much padding that some windows see zeros alone: there, the output is the bias.";
  if (F === 1) return "A filter of one pixel mixes the channels and sees no neighbours.";
  if (out === numbers.size) return `The output is as large as the image, as P = (F ${MINUS} 1) / 2 makes it at stride 1.`;
  if (P === 0 && S === 1) return `Without padding, a filter of ${F} takes ${F - 1} from each side of the image.`;
  if (S === F) return "The stride is the size of the filter: windows touch, none overlap.";
  return "It comes out even: the last window ends where the image does.";
}

/** The numbers of weights and biases: [name, count, how it is reckoned, what it means]. */
function countsOf({ F, K }, out) {
  const C = numbers.channels.length;
  const [filter, neurons] = [F * F * C + 1, out * out * K];
  const everything = numbers.size ** 2 * C + 1;
  const own = `${F}·${F}·${C} + 1`;
  const all = `${numbers.size}·${numbers.size}·${C} + 1`;
  const outputs = `${out}·${out}·${K}`;
  return [
    ["convolution", K * filter, `${K} · (${own})`, "shared weights: a filter is the same at all places"],
    ["locally connected", neurons * filter, `${outputs} · (${own})`, "unshared: each output has weights of its own"],
    ["fully connected", neurons * everything, `${outputs} · (${all})`, "unshared, and for every pixel"],
  ];
}
