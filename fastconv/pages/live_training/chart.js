// Curves over the steps: a pale line of single batches, a firm one of their running mean, a dashed one of the tests.

import { colour } from "./colours.js";

const LEFT = 44;
const RIGHT = 12;
const TOP = 8;
const BOTTOM = 24;
const MEMORY = 0.8;

// The running mean of points [step, value], which knows the first steps as well as the later ones.
export function smoothed(values) {
  const points = [];
  let sum = 0;
  let weight = 0;
  values.forEach((value, index) => {
    if (value === null) return;
    sum = MEMORY * sum + value;
    weight = MEMORY * weight + 1;
    points.push([index + 1, sum / weight]);
  });
  return points;
}

// `top` is the largest value that is drawn, `text(value)` names a value at the axis.
export function drawChart(canvas, { raw, mean, tests, steps, batches, top, ticks, text }) {
  const ratio = devicePixelRatio;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const end = Math.max(steps, 2 * batches, 1);
  const x = (step) => LEFT + (step / end) * (width - LEFT - RIGHT);
  const y = (value) => height - BOTTOM - (Math.min(value, top) / top) * (height - TOP - BOTTOM);
  drawAxes(context, { width, height, x, y, end, batches, ticks, text });
  if (!steps) context.fillText("no steps yet", (LEFT + width - RIGHT) / 2, y(0.36 * top));
  drawLine(context, raw.map((value, index) => [index + 1, value]), x, y, { stroke: "train", alpha: 0.22, width: 1 });
  drawLine(context, mean, x, y, { stroke: "train", width: 2.2 });
  drawLine(context, tests, x, y, { stroke: "test", width: 2.2, dash: [6, 3] });
}

function drawAxes(context, { width, height, x, y, end, batches, ticks, text }) {
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = colour("grey");
  context.strokeStyle = colour("line");
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const tick of ticks) {
    context.beginPath();
    context.moveTo(LEFT, Math.round(y(tick)) + 0.5);
    context.lineTo(width - RIGHT, Math.round(y(tick)) + 0.5);
    context.stroke();
    context.fillText(text(tick), LEFT - 7, y(tick));
  }
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  const epochs = end / batches;
  const every = [1, 2, 5, 10, 20, 50].find((count) => epochs / count <= (width < 420 ? 5 : 8)) ?? 100;
  for (let epoch = 0; epoch <= epochs; epoch += every) {
    const label = epoch === 0 ? "0" : epoch === every ? `epoch ${epoch}` : String(epoch);
    context.fillText(label, x(epoch * batches), height - 6);
  }
}

function drawLine(context, points, x, y, { stroke, width, alpha = 1, dash = [] }) {
  context.save();
  context.globalAlpha = alpha;
  context.strokeStyle = colour(stroke);
  context.lineWidth = width;
  context.lineJoin = "round";
  context.setLineDash(dash);
  context.beginPath();
  let isDrawing = false;
  for (const [step, value] of points) {
    if (value === null) {
      isDrawing = false;
    } else if (isDrawing) {
      context.lineTo(x(step), y(value));
    } else {
      context.moveTo(x(step), y(value));
      isDrawing = true;
    }
  }
  context.stroke();
  context.restore();
}
