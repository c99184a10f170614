// Small square images, side by side on one canvas, every value a sharp square.

const small = document.createElement("canvas");

export function bytes(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// `values` holds `maps` images; `table` gives their colours, as in colours.js. The canvas has the width of its column.
export function drawTiles(canvas, values, { maps = 1, columns = 1, table }) {
  const side = Math.sqrt(values.length / maps);
  const gap = maps > 1 ? 1 : 0;
  const rows = Math.ceil(maps / columns);
  small.width = columns * (side + gap) - gap;
  small.height = rows * (side + gap) - gap;
  const context = small.getContext("2d");
  const image = context.createImageData(small.width, small.height);
  for (let i = 0; i < values.length; i += 1) {
    const map = Math.floor(i / (side * side));
    const x = (map % columns) * (side + gap) + (i % side);
    const y = Math.floor(map / columns) * (side + gap) + (Math.floor(i / side) % side);
    image.data.set(table.subarray(4 * values[i], 4 * values[i] + 4), 4 * (y * small.width + x));
  }
  context.putImageData(image, 0, 0);
  enlarge(canvas);
}

function enlarge(canvas) {
  const wanted = canvas.clientWidth * devicePixelRatio;
  const scale = Math.max(1, Math.ceil(wanted / small.width));
  canvas.width = small.width * scale;
  canvas.height = small.height * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}
