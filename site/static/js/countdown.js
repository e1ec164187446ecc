// Counts the server's seconds down. The server alone decides when the time is over.

const SAID_AT = [600, 300, 60];
const HURRY = 300;

function asClock(seconds) {
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

function run(box) {
  const shown = box.querySelector("time");
  const said = box.querySelector("[role=status]");
  const ends = performance.now() + 1000 * Number(box.dataset.seconds);
  let before = Infinity;
  const tick = () => {
    const left = Math.max(0, Math.ceil((ends - performance.now()) / 1000));
    shown.textContent = asClock(left);
    box.classList.toggle("hurry", left <= HURRY);
    const passed = SAID_AT.find((mark) => left <= mark && before > mark && before !== Infinity);
    if (passed) said.textContent = `${passed / 60} minutes left`;
    if (left === 0 && before !== 0) said.textContent = "Your time is over";
    before = left;
    if (left) setTimeout(tick, 250);
  };
  tick();
}

for (const box of document.querySelectorAll("[data-seconds]")) run(box);
