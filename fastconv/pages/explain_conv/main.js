// The page's state, and what follows from a change of it: a setting, a step, the outputs computed so far.

const setting = { set: 0, ...numbers.first };
const scene = { size: null, outputs: [], greatest: 0, computed: new Set(), step: 0, frames: [], buttons: [] };

/** The nearest setting that the chosen kind of filters has. */
function settle() {
  const sizes = sizesOf(setting.set);
  if (!sizes.includes(setting.F)) setting.F = sizes.includes(numbers.first.F) ? numbers.first.F : sizes[0];
  setting.K = Math.min(setting.K, bankOf(setting).bias.length);
}

/** Everything anew after a change of the setting; the filter stands at its first place. */
function begin() {
  scene.size = sizeOf(setting);
  scene.outputs = allOutputs(setting);
  scene.greatest = greatestOf(scene.outputs);
  scene.computed.clear();
  markChoices(setting);
  drawSize(setting);
  drawCheck(setting, scene.outputs);
  scene.frames = [...drawInput(setting), pictureFrame(setting)];
  scene.buttons = drawOutput(setting, scene.outputs, choose);
  scene.buttons.forEach((_, step) => fill(step));
  drawSizes();
  if (scene.size.fits) show(0);
  else showNothing();
}

function drawSizes() {
  const { out } = scene.size;
  const padded = numbers.size + 2 * setting.P;
  const padding = setting.P ? `, padded to ${padded} × ${padded}` : "";
  byId("input-size").textContent = `${numbers.size} × ${numbers.size} × ${numbers.channels.length}${padding}`;
  byId("output-size").textContent = `${out} × ${out} × ${setting.K}`;
  byId("note").textContent = numbers.sets[setting.set].note;
}

function fill(step) {
  const place = placeOf(step, scene.size.out);
  fillOutput(scene.buttons[step], place, scene.outputs[step], scene.greatest, scene.computed.has(step));
}

/** The filter at one output. */
function show(step) {
  const where = placeOf(step, scene.size.out);
  const output = outputAt(setting, where);
  scene.buttons[scene.step]?.removeAttribute("aria-current");
  scene.step = step;
  scene.computed.add(step);
  fill(step);
  scene.buttons[step].setAttribute("aria-current", "step");
  markFilter(where.k, step);
  const [row, column] = [where.row * setting.S, where.column * setting.S];
  for (const { sliding, columns, offset } of scene.frames) place(sliding, row + offset, column + offset, columns);
  drawArithmetic(setting, output);
  byId("place").textContent = `filter ${where.k + 1}, row ${where.row + 1}, column ${where.column + 1}`;
  drawProgress();
  if (!player.isPlaying()) byId("spoken").textContent = spoken(where, output);
}

function showNothing() {
  scene.step = 0;
  for (const { sliding, columns, offset } of scene.frames) place(sliding, offset, offset, columns);
  byId("arithmetic").replaceChildren();
  byId("equation").replaceChildren();
  byId("place").textContent = "none: the filter does not fit";
  drawProgress();
  player.pause();
}

/** Marks the filter at work; Tab reaches its output at the current step. */
function markFilter(k, step) {
  const cards = byId("output").children;
  for (let index = 0; index < cards.length; index++) cards[index].classList.toggle("current", index === k);
  for (const button of cards[k].querySelectorAll(".output")) {
    button.tabIndex = Number(button.dataset.step) === step ? 0 : -1;
  }
}

function drawProgress() {
  const [done, total] = [scene.computed.size, scene.outputs.length];
  byId("progress").value = total ? done / total : 0;
  byId("count").textContent = `${done} of ${plural(total, "output")}`;
  for (const id of ["restart", "back", "play", "forth"]) byId(id).disabled = total === 0;
}

/** One step on, from the last to the first again; says whether another one is left. */
function forth() {
  const last = scene.outputs.length - 1;
  if (last < 0) return false;
  show(scene.step < last ? scene.step + 1 : 0);
  return scene.step < last;
}

function back() {
  if (scene.step > 0) show(scene.step - 1);
}

function restart() {
  if (!scene.size.fits) return;
  scene.computed.clear();
  scene.buttons.forEach((_, step) => fill(step));
  show(0);
}

/** All outputs at once. */
function finish() {
  if (!scene.size.fits) return;
  scene.buttons.forEach((_, step) => {
    scene.computed.add(step);
    fill(step);
  });
  show(scene.outputs.length - 1);
}

function choose(step) {
  player.pause();
  show(step);
}

/** A step by hand: the player stops first. */
function byHand(action) {
  return () => {
    player.pause();
    action();
  };
}

function play() {
  if (!player.isPlaying() && scene.step === scene.outputs.length - 1) restart();
  player.toggle();
}

const player = makePlayer(forth, (isPlaying) => {
  byId("play").classList.toggle("playing", isPlaying);
  byId("play-text").textContent = isPlaying ? "Pause" : "Play";
});

function changeLetter(letter, value) {
  setting[letter] = value;
  begin();
}

function changeKind(set) {
  setting.set = set;
  settle();
  drawChoices(setting, changeLetter);
  begin();
}

const controls = { restart: byHand(restart), back: byHand(back), play, forth: byHand(forth) };
for (const [id, action] of Object.entries(controls)) byId(id).addEventListener("click", action);
listenToKeys({
  " ": play,
  ArrowLeft: byHand(back),
  ArrowRight: byHand(forth),
  Home: byHand(restart),
  End: byHand(finish),
});
listenToOutputs(() => scene.size.out, choose);

byId("caption").textContent = numbers.caption;
byId("brightest").textContent = numbers.brightest;
byId("version").textContent = numbers.version;
drawPicture();
drawKinds(changeKind);
changeKind(0);
