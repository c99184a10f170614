// The page: what the server tells is kept here and drawn once per frame.

import { Bars, best } from "./bars.js";
import { drawChart, smoothed } from "./chart.js";
import { ramp, ramp3 } from "./colours.js";
import { Pad } from "./pad.js";
import { networkOf, Reader } from "./reader.js";
import { order, Stream } from "./server.js";
import { bytes, drawTiles } from "./tiles.js";

const OWN = "own";
const FULL_PACE = 0;
const COLUMNS = { filters: 8, relu1: 8, relu2: 12, pool: 12, relu3: 16 };
const WORDS = { ready: "ready", running: "training", paused: "paused", finished: "finished", failed: "failed" };

const find = (id) => document.getElementById(id);
const curves = { losses: [], accuracies: [], tests: [] };
let about = null;
let update = null;
let choice = 0;
let drawn = null;
let colours = {};

// ---- what comes from the server

const stream = new Stream({
  about(message) {
    const isFirst = about === null;
    about = { ...message, digits: message.digits.map(({ label, image }) => ({ label, image: bytes(image) })) };
    if (isFirst) {
      addDigits();
      addOffers();
    }
    for (const name of ["epochs", "seed"]) find(name).textContent = about[name];
  },

  update(message) {
    const { steps, tests } = message.begin;
    extend(curves.losses, steps, message.losses);
    extend(curves.accuracies, steps, message.accuracies);
    extend(curves.tests, tests, message.tests);
    update = message;
    tell("");
    drawSoon();
    read();
  },

  lost() {
    find("status").className = "lost";
    find("status").textContent = "not connected";
    for (const control of document.querySelectorAll(".controls button, .controls select")) control.disabled = true;
    tell("The server does not answer. Once fastconv demo --web runs again on this port, the page goes on by itself.");
  },
});

function extend(list, begin, values) {
  list.length = begin;
  for (const value of values) list.push(value);
}

let underWay = 0;

async function give(name, values) {
  underWay += 1;
  try {
    Object.assign(update, await order(name, values));
    tell("");
  } catch (error) {
    tell(error.message);
  }
  underWay -= 1;
  drawSoon();
}

function tell(trouble) {
  find("trouble").textContent = trouble;
  find("trouble").hidden = !trouble;
}

// ---- the controls

find("run").addEventListener("click", () => give(update.status === "running" ? "pause" : "start"));
find("reset").addEventListener("click", () => give("reset"));

function addOffers() {
  const names = {
    pace: (value) => (value === FULL_PACE ? "as fast as it can" : `${value} steps per second`),
    learning_rate: String,
    batch_size: String,
  };
  for (const [setting, values] of Object.entries(about.offers)) {
    const select = find(setting);
    select.append(...values.map((value) => new Option(names[setting](value), value)));
    select.addEventListener("change", () => give("settings", { [setting]: Number(select.value) }));
  }
}

function addDigits() {
  about.digits.forEach((_, number) => addChoice(number));
  const own = addChoice(OWN);
  own.classList.add("own");
  own.querySelector("input").disabled = true;
  find("digits").querySelector("input").checked = true;
}

function addChoice(value) {
  const label = document.createElement("label");
  label.innerHTML = '<input type="radio" name="digit"><canvas aria-hidden="true"></canvas><span></span>';
  const input = label.querySelector("input");
  input.value = value;
  input.addEventListener("change", () => choose(value));
  find("digits").append(label);
  return label;
}

function choose(value) {
  choice = value;
  if (value !== OWN) stream.follow(value);
  drawSoon();
}

// ---- the drawing

const pad = new Pad(find("pad"), (strokes) => {
  find("clear").disabled = find("undo").disabled = !strokes.length;
  if (!strokes.length) forget();
  read();
});
find("clear").addEventListener("click", () => pad.clear());
find("undo").addEventListener("click", () => pad.undo());

const reader = new Reader(
  (answer) => {
    drawn = { ...answer, image: bytes(answer.image) };
    drawSoon();
  },
  (error) => tell(error.message),
);

function read() {
  if (update) reader.look(pad.strokes, networkOf(update));
}

function forget() {
  drawn = null;
  if (choice === OWN) {
    find("digits").querySelector("input").checked = true;
    choose(0);
  }
  drawSoon();
}

// ---- drawing everything

let isDue = false;

function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    if (about && update) draw();
  });
}

function mixColours() {
  colours = {
    digit: ramp("blank", "pixel"),
    map: ramp3("cold", "warm", "hot"),
    filter: ramp3("minus", "zero", "plus"),
  };
  pad.draw();
  drawSoon();
}

function draw() {
  drawControls();
  drawCurves();
  drawDigits();
  drawDrawing();
  drawLayers();
}

function drawControls() {
  const { status, settings } = update;
  const isOver = status === "finished" || status === "failed";
  find("status").className = status;
  find("status").textContent = WORDS[status];
  find("run").textContent = status === "running" ? "Pause" : status === "paused" ? "Go on" : "Start";
  find("run").disabled = isOver;
  find("reset").disabled = false;
  for (const [setting, value] of Object.entries(settings)) {
    const select = find(setting);
    select.disabled = false;
    if (!underWay) select.value = value;
  }
  const [, , accuracy] = curves.tests.at(-1);
  find("epoch").textContent = update.epoch;
  find("step").textContent = update.step.toLocaleString("en");
  find("seconds").textContent = update.seconds.toFixed(1);
  find("accuracy").textContent = `${(100 * accuracy).toFixed(1)} %`;
  if (status === "failed") tell(`Training failed: ${update.reason}. A reset begins anew.`);
}

function drawCurves() {
  const { step: steps, batches } = update;
  const loss = smoothed(curves.losses);
  const tests = curves.tests.map(([step, value]) => [step, value]);
  const high = loss.reduce((most, [, value]) => Math.max(most, value), 2.5);
  const unit = [0.5, 1, 2, 5, 10, 20, 50, 100].find((size) => high / size <= 6) ?? high / 5;
  const ticks = Array.from({ length: Math.floor(high / unit) + 1 }, (_, index) => index * unit);
  drawChart(find("loss-chart"), {
    raw: curves.losses, mean: loss, tests, steps, batches, top: high, ticks, text: (value) => value.toPrecision(2),
  });
  const shares = smoothed(curves.accuracies);
  drawChart(find("accuracy-chart"), {
    raw: curves.accuracies, mean: shares, tests: curves.tests.map(([step, , value]) => [step, value]),
    steps, batches, top: 1, ticks: [0, 0.25, 0.5, 0.75, 1], text: (value) => `${100 * value} %`,
  });
  const after = `after ${steps} steps`;
  find("loss-chart").setAttribute("aria-label", `Test loss ${tests.at(-1)[1]?.toFixed(3)} ${after}`);
  find("accuracy-chart").setAttribute("aria-label", `Test accuracy ${find("accuracy").textContent} ${after}`);
}

function drawDigits() {
  let right = 0;
  find("digits").querySelectorAll("label").forEach((label, number) => {
    const digit = about.digits[number];
    const canvas = label.querySelector("canvas");
    const word = label.querySelector("span");
    if (!digit) {
      label.querySelector("input").disabled = !drawn;
      word.textContent = drawn ? "your drawing" : "your drawing, once there is one";
      drawTiles(canvas, drawn?.image ?? new Uint8Array(64), { table: colours.digit });
      return;
    }
    const said = best(update.probabilities[number]);
    const isRight = said === digit.label;
    right += isRight;
    word.textContent = isRight ? `✓ ${said}` : `✗ ${said ?? "?"}`;
    word.className = isRight ? "right" : "wrong";
    const reading = `test digit ${digit.label}, read as ${said ?? "nothing"}: ${isRight ? "right" : "wrong"}`;
    label.querySelector("input").setAttribute("aria-label", reading);
    drawTiles(canvas, digit.image, { table: colours.digit });
  });
  find("right").textContent = right;
  find("right-of-all").textContent = `${update.right} of all ${about.tested}`;
}

function drawDrawing() {
  drawTiles(find("reduced"), drawn?.image ?? new Uint8Array(64), { table: colours.digit });
  drawnBars.show(drawn?.probabilities ?? null);
  const said = best(drawn?.probabilities);
  const verdict = said === null ? "Nothing drawn yet" : `It says ${said}`;
  find("drawn-verdict").textContent = verdict;
  find("reduced").setAttribute("aria-label", drawn ? `The drawing in 8×8 pixels. ${verdict}` : verdict);
}

function drawLayers() {
  const isOwn = choice === OWN && drawn;
  if (!isOwn && update.digit !== choice) return; // its stream has just begun
  const digit = about.digits[choice] ?? { label: null };
  const probabilities = isOwn ? drawn.probabilities : update.probabilities[choice];
  const layers = isOwn ? drawn.layers : update.layers;
  const said = best(probabilities);
  drawTiles(find("input"), isOwn ? drawn.image : digit.image, { table: colours.digit });
  find("input-caption").textContent = isOwn ? "your drawing, 8×8" : `a ${digit.label}, 8×8`;
  for (const canvas of document.querySelectorAll("[data-layer]")) {
    const name = canvas.dataset.layer;
    const { maps, peak, values } = layers[name];
    const map = bytes(values);
    const side = Math.sqrt(map.length / maps);
    drawTiles(canvas, map, { maps, columns: COLUMNS[name], table: colours.map });
    const shape = `${maps} maps of ${side}×${side}, largest value ${peak.toFixed(2)}`;
    canvas.parentElement.querySelector("span").textContent = shape;
  }
  const { maps, peak, values } = update.filters;
  drawTiles(find("filters"), bytes(values), { maps, columns: COLUMNS.filters, table: colours.filter });
  find("filter-shape").textContent = `${maps} of 3×3 weights, the largest ±${peak.toFixed(2)}`;
  bars.show(probabilities, digit.label);
  const judgement = digit.label === null ? "" : said === digit.label ? ", which is right" : `, but it is a ${digit.label}`;
  find("verdict").textContent = said === null ? "It says nothing" : `It says ${said}${judgement}`;
}

const bars = new Bars(find("bars"));
const drawnBars = new Bars(find("drawn-bars"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", mixColours);
addEventListener("resize", () => {
  pad.draw();
  drawSoon();
});
mixColours();
stream.open();
