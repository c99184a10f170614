// A pad to draw on with mouse, pen or finger; strokes are lists of points [x, y] within 0..1.

import { colour } from "./colours.js";

const NEAR = 0.015;
const PEN = 0.075;
const MOST_POINTS = 500;

export class Pad {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.strokes = [];
    this.pointer = null;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(name, (event) => this.end(event));
    }
  }

  clear() {
    this.strokes = [];
    this.show();
  }

  undo() {
    this.strokes.pop();
    this.show();
  }

  begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    event.preventDefault();
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes = [...this.strokes, []];
    this.add(event);
    this.show();
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const part of events.length ? events : [event]) this.add(part);
    this.show();
  }

  end(event) {
    if (event.pointerId === this.pointer) this.pointer = null;
  }

  add(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = (value, begin, size) => Math.round(1000 * Math.min(1, Math.max(0, (value - begin) / size))) / 1000;
    const point = [place(event.clientX, box.left, box.width), place(event.clientY, box.top, box.height)];
    const stroke = this.strokes.at(-1);
    const last = stroke.at(-1);
    const count = this.strokes.reduce((sum, part) => sum + part.length, 0);
    if (count >= MOST_POINTS) {
      if (!stroke.length) this.strokes.pop();
    } else if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= NEAR) {
      stroke.push(point);
    }
  }

  show() {
    this.draw();
    this.changed(this.strokes);
  }

  draw() {
    const size = Math.round(this.canvas.clientWidth * devicePixelRatio);
    this.canvas.width = size;
    this.canvas.height = size;
    const context = this.canvas.getContext("2d");
    context.strokeStyle = colour("pixel");
    context.lineWidth = PEN * size;
    context.lineCap = "round";
    context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.beginPath();
      context.moveTo(stroke[0][0] * size, stroke[0][1] * size);
      for (const [x, y] of stroke.length > 1 ? stroke : [stroke[0], stroke[0]]) context.lineTo(x * size, y * size);
      context.stroke();
    }
  }
}
