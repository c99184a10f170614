// The parts that everything on the page is drawn with: elements, square grids of numbers, their colours.

const TINTS = {
  red: [[42, 10, 14], [255, 98, 92]],
  green: [[8, 34, 20], [96, 214, 120]],
  blue: [[12, 20, 54], [104, 164, 255]],
  grey: [[22, 23, 26], [246, 246, 246]],
};

function byId(id) {
  return document.getElementById(id);
}

function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** A square grid whose cells share its width, and in which texts of so many `letters` have room. */
function grid(columns, letters, className, ...cells) {
  const made = element("div", `grid ${className}`, ...cells);
  made.style.setProperty("--columns", columns);
  made.style.setProperty("--room", roomFor(letters));
  return made;
}

/** The height of letters, as a share of the width of their cell. */
function roomFor(letters) {
  return Math.min(0.62, 1 / (0.68 * letters + 0.4)).toFixed(3);
}

function longest(values) {
  return Math.max(...values.map((value) => signed(value).length));
}

/** Colours a cell as bright as its pixel, with ink that can be read on it. */
function tint(cell, channel, pixel) {
  const [dark, bright] = TINTS[numbers.channels[channel]];
  const share = pixel / numbers.brightest;
  const colour = dark.map((from, part) => Math.round(from + share * (bright[part] - from)));
  cell.style.backgroundColor = `rgb(${colour})`;
  cell.style.color = luminance(colour) > 0.179 ? "#000" : "#fff"; // where black and white are equally far away
}

function luminance(colour) {
  const [red, green, blue] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** Colours a cell from negative over nothing to positive. */
function shade(cell, value, greatest) {
  cell.classList.toggle("negative", value < 0);
  cell.classList.add("shaded");
  cell.style.setProperty("--share", `${greatest ? Math.round((100 * Math.abs(value)) / greatest) : 0}%`);
}

function greatestOf(values) {
  return values.reduce((greatest, value) => Math.max(greatest, Math.abs(value)), 0);
}

/** The frame around a window; `place` moves it. */
function frame(className, F, columns) {
  const made = element("div", `frame ${className}`);
  made.style.width = made.style.height = `${(100 * F) / columns}%`;
  return made;
}

function place(framed, row, column, columns) {
  framed.style.left = `${(100 * column) / columns}%`;
  framed.style.top = `${(100 * row) / columns}%`;
}

// Letters below this many pixels cannot be read.
const SMALLEST = 6.5;

const watcher = new ResizeObserver((entries) => {
  for (const { target, contentRect } of entries) {
    const [columns, room] = ["--columns", "--room"].map((name) => Number(target.style.getPropertyValue(name)));
    target.classList.toggle("tiny", (contentRect.width / columns) * room < SMALLEST);
  }
});

/** Leaves out the numbers of a grid while they would be too small; the products show those of a window. */
function hideWhenTiny(made) {
  watcher.observe(made);
  return made;
}
