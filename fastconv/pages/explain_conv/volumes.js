// The volumes: the padded input, channel by channel, and for each filter its weights, its bias and its output.

/** The input's planes; returns the frames that slide. */
function drawInput(setting) {
  const { F, S, P } = setting;
  const { fits, out, left } = sizeOf(setting);
  const columns = numbers.size + 2 * P;
  const read = readPositions(setting, out);
  const frames = [];
  const planes = numbers.channels.map((name, channel) => {
    const board = element("div", "board", inputGrid(channel, columns, P, read));
    const sliding = frame(fits ? "window" : "window unfit", F, columns);
    frames.push({ sliding, columns, offset: 0 });
    board.append(sliding);
    if (left) {
      const next = frame("next", F, columns);
      place(next, 0, out * S, columns);
      board.append(next);
    }
    return element("figure", `plane ${name}`, element("figcaption", "", name), board);
  });
  byId("input").style.setProperty("--planes", planes.length);
  byId("input").replaceChildren(...planes);
  return frames;
}

function inputGrid(channel, columns, P, read) {
  const cells = Array.from({ length: columns * columns }, (_, index) => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    const pixel = pixelAt(channel, row, column, P);
    const cell = element("span", "cell", String(pixel ?? 0));
    if (pixel === null) cell.classList.add("padding");
    else tint(cell, channel, pixel);
    if (read.size && !(read.has(row) && read.has(column))) cell.classList.add("unread");
    return cell;
  });
  const made = hideWhenTiny(grid(columns, 1, "pixels", ...cells));
  made.setAttribute("role", "img");
  made.setAttribute("aria-label", `The ${numbers.channels[channel]} channel, ${columns} × ${columns} with padding`);
  return made;
}

/** A card for each filter; returns the buttons of all outputs, in the order of the steps. */
function drawOutput(setting, outputs, whenChosen) {
  const { out } = sizeOf(setting);
  const buttons = outputs.map((_, step) => outputButton(step, step % (out * out) === 0, whenChosen));
  const cards = Array.from({ length: setting.K }, (_, k) => {
    const own = buttons.slice(k * out * out, (k + 1) * out * out);
    const map = out ? outputGrid(k, own, out, longest(outputs)) : element("p", "nothing", "no output");
    return element("article", "map", ...filterParts(setting, k), map);
  });
  byId("output").replaceChildren(...cards);
  byId("output").style.setProperty("--cards", Math.min(setting.K, 2));
  return buttons;
}

function filterParts({ set, F }, k) {
  const bank = numbers.sets[set].banks[F];
  const greatest = greatestOf(bank.weight.flat(2));
  const slices = bank.weight[k].map((weights, channel) => {
    const made = hideWhenTiny(grid(F, longest(bank.weight.flat(2)), `weights ${numbers.channels[channel]}`));
    made.append(
      ...weights.map((weight) => {
        const cell = element("span", "cell", signed(weight));
        shade(cell, weight, greatest);
        return cell;
      }),
    );
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", `Weights on ${numbers.channels[channel]}: ${weights.map(signed).join(" ")}`);
    return made;
  });
  return [
    element("h3", "", `Filter ${k + 1}`, element("span", "dim", bank.names[k])),
    element("div", "slices", ...slices),
    element("p", "bias", "bias ", element("b", "", signed(bank.bias[k]))),
  ];
}

function outputGrid(k, buttons, out, letters) {
  const rows = Array.from({ length: out }, (_, row) => {
    const made = element("div", "row", ...buttons.slice(row * out, (row + 1) * out));
    made.setAttribute("role", "row");
    return made;
  });
  const made = hideWhenTiny(grid(out, letters, "outputs", ...rows));
  made.setAttribute("role", "grid");
  made.setAttribute("aria-label", `Output of filter ${k + 1}`);
  return made;
}

function outputButton(step, isReachable, whenChosen) {
  const button = element("button", "cell output");
  button.type = "button";
  button.setAttribute("role", "gridcell");
  button.dataset.step = step;
  button.tabIndex = isReachable ? 0 : -1;
  button.addEventListener("click", () => whenChosen(step));
  return button;
}

/** Shows in its cell whether an output is computed, and which; `place` is that of the cell. */
function fillOutput(button, { row, column }, value, greatest, isComputed) {
  button.classList.toggle("computed", isComputed);
  button.textContent = isComputed ? signed(value) : "";
  shade(button, isComputed ? value : 0, greatest);
  const what = isComputed ? signed(value) : "not computed yet";
  button.title = `row ${row + 1}, column ${column + 1}: ${what}`;
  button.setAttribute("aria-label", button.title);
}

/** The photograph and, beside it, what is left of it in so few pixels. */
function drawPicture() {
  const photo = Uint8Array.from(atob(numbers.photo.rgb), (letter) => letter.charCodeAt(0));
  paint(byId("photo"), numbers.photo.side, (index, part) => photo[3 * index + part]);
  const [last, scale] = [numbers.channels.length - 1, 255 / numbers.brightest];
  paint(byId("small"), numbers.size, (index, part) => numbers.values[Math.min(part, last)][index] * scale);
}

function paint(canvas, side, partOf) {
  canvas.width = canvas.height = side;
  const image = new ImageData(side, side);
  for (let index = 0; index < side * side; index++) {
    for (let part = 0; part < 3; part++) image.data[4 * index + part] = partOf(index, part);
    image.data[4 * index + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The frame on the small picture, which has no padding around it. */
function pictureFrame(setting) {
  const board = byId("small").parentElement;
  board.querySelector(".frame")?.remove();
  const sliding = frame(sizeOf(setting).fits ? "window" : "window unfit", setting.F, numbers.size);
  board.append(sliding);
  return { sliding, columns: numbers.size, offset: -setting.P };
}
