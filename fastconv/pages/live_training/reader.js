// Asks what the network makes of a drawing, one question at a time: at once when the drawing has changed, and now and
// then when only the network has.

import { order } from "./server.js";

const AGAIN = 200;

export class Reader {
  constructor(answered, refused) {
    this.answered = answered;
    this.refused = refused;
    this.next = null;
    this.last = { drawing: "[]", network: "" };
    this.isAsking = false;
  }

  // To be told of every change of either.
  async look(strokes, network) {
    this.next = { strokes, drawing: JSON.stringify(strokes), network };
    if (this.isAsking) return;
    this.isAsking = true;
    while (this.isNews()) await this.ask();
    this.isAsking = false;
  }

  isNews() {
    return this.next.drawing !== this.last.drawing || (this.next.strokes.length && this.next.network !== this.last.network);
  }

  async ask() {
    if (this.next.drawing === this.last.drawing) await new Promise((done) => setTimeout(done, AGAIN));
    const { strokes, drawing, network } = this.next;
    this.last = { drawing, network };
    if (!strokes.length) return;
    try {
      const answer = await order("predict", { strokes });
      this.last.network = networkOf(answer);
      if (drawing === this.next.drawing) this.answered(answer);
    } catch (error) {
      if (!(error instanceof TypeError)) this.refused(error); // without a server it is told by the stream
    }
  }
}

// Which network a message is about.
export function networkOf(message) {
  return `${message.lesson}:${message.step}`;
}
