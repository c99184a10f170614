// The keyboard: keys of the whole page, and arrows between the outputs of one filter.

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** `actions` by key; a control that has the focus keeps the keys that it uses itself. */
function listenToKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
    const owner = event.target.closest("input, select, button, [role=grid]");
    const isOwned = owner && (event.key === " " || owner.tagName !== "BUTTON" || owner.closest("[role=grid]"));
    if (isOwned || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });
}

/** Arrows move the focus, and with it the window, over one output; Home and End go along its row. */
function listenToOutputs(sizeNow, whenChosen) {
  byId("output").addEventListener("keydown", (event) => {
    const button = event.target.closest(".output");
    const next = button && neighbour(Number(button.dataset.step), event.key, sizeNow());
    if (next === null || next === undefined) return;
    event.preventDefault();
    whenChosen(next);
    byId("output").querySelector(`[data-step="${next}"]`).focus();
  });
}

function neighbour(step, key, out) {
  const { k, row, column } = placeOf(step, out);
  const ends = { Home: [row, 0], End: [row, out - 1] };
  const move = MOVES[key];
  const [y, x] = ends[key] ?? (move ? [row + move[0], column + move[1]] : [-1, -1]);
  return y < 0 || x < 0 || y >= out || x >= out ? null : (k * out + y) * out + x;
}
