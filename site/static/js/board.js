// Keeps a leaderboard new: asks for it with its ETag, slower while nothing changes or the site is away.

const FIRST_SECONDS = 10;
const MOST_SECONDS = 60;
const box = document.querySelector("[data-board]");
const stale = document.querySelector("[data-stale]");
const said = document.querySelector("[data-said]");
let wait = box.querySelector("table, .empty") ? FIRST_SECONDS : 1;
let shown = box.innerHTML.trim();
let timer = 0;

const leader = () => box.querySelector("tbody th")?.textContent.trim() ?? "";

function show(html) {
  const before = leader();
  if (html.trim() === shown) return false;
  shown = html.trim();
  box.innerHTML = html;
  if (leader() !== before) said.textContent = `Leading: ${leader()}`;
  return true;
}

async function look() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const answer = await fetch(box.dataset.board, { cache: "no-cache" });
    if (answer.status === 202 || answer.status === 503) {
      wait = Math.min(Math.max(Number(answer.headers.get("Retry-After")) || 1, 1.5 * wait), FIRST_SECONDS);
    } else if (!answer.ok) {
      throw new Error();
    } else {
      wait = show(await answer.text()) ? FIRST_SECONDS : Math.min(1.3 * Math.max(wait, FIRST_SECONDS), MOST_SECONDS);
    }
    stale.hidden = true;
  } catch {
    wait = Math.min(2 * wait, MOST_SECONDS);
    stale.textContent = "The site cannot be reached. What you see is not new any more.";
    stale.hidden = false;
  }
  timer = setTimeout(look, wait * 1000);
}

document.addEventListener("visibilitychange", look);
timer = setTimeout(look, wait * 1000);
