// Steps by a timer: play, pause, and how fast.

const PACES = [0.5, 1, 2, 4, 8, 16];

/** `forth` goes one step on and says whether another one is left; `whenChanged` hears whether it plays. */
function makePlayer(forth, whenChanged) {
  let timer = null;
  const pace = () => PACES[Number(byId("speed").value)];
  const isPlaying = () => timer !== null;
  const tick = () => {
    if (forth()) timer = setTimeout(tick, 1000 / pace());
    else pause();
  };
  function play() {
    if (isPlaying()) return;
    timer = setTimeout(tick, 0);
    whenChanged(true);
  }
  function pause() {
    clearTimeout(timer);
    timer = null;
    whenChanged(false);
  }
  function drawPace() {
    byId("pace").textContent = `${plural(pace(), "step")} a second`;
    document.documentElement.style.setProperty("--glide", `${Math.min(0.3, 0.6 / pace())}s`);
  }
  byId("speed").addEventListener("input", drawPace);
  drawPace();
  return { play, pause, isPlaying, toggle: () => (isPlaying() ? pause() : play()) };
}
