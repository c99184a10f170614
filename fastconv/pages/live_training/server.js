// The server: a stream of events, which is closed while nobody can see the page, and orders.

export class Stream {
  constructor(heard) {
    this.heard = heard;
    this.digit = 0;
    this.source = null;
    document.addEventListener("visibilitychange", () => this.open());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.open());
  }

  // A digit's activations come with a stream of its own.
  follow(digit) {
    this.digit = digit;
    this.open();
  }

  open() {
    this.close();
    if (document.hidden) return;
    const source = new EventSource(`events?digit=${this.digit}`);
    for (const name of ["about", "update"]) {
      source.addEventListener(name, (event) => source === this.source && this.heard[name](JSON.parse(event.data)));
    }
    source.addEventListener("error", () => source === this.source && this.heard.lost());
    source.addEventListener("end", () => {
      if (source === this.source) this.heard.lost();
    });
    this.source = source;
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}

// What the server answers; throws an Error with its reason where it refuses.
export async function order(name, values = {}) {
  const reply = await fetch(name, {
    method: "POST",
    headers: { "content-type": "application/json", "x-fastconv": "page" },
    body: JSON.stringify(values),
  });
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
}
