// The front page's map: asks every second for what has started, and puts a dot where it was.

const SECONDS = 1;
const MOST_SECONDS = 30;
const LISTED = 6;
const SVG = "http://www.w3.org/2000/svg";
const world = document.querySelector("[data-feed]");
const [dots, list, quiet, missing, stale, pause] = ["dots", "starts", "quiet", "missing", "stale", "pause"].map(
  (name) => world.querySelector(`[data-${name}]`),
);
const total = document.querySelector("[data-total]");
let known = null;
let wait = SECONDS;
let timer = 0;
let paused = false;

function dot(start, isNew) {
  if (start.x === undefined) return;
  const made = document.createElementNS(SVG, "circle");
  made.setAttribute("class", isNew ? "dot new" : "dot");
  made.setAttribute("cx", start.x);
  made.setAttribute("cy", start.y);
  made.setAttribute("r", 4);
  dots.append(made);
}

function when(at) {
  const seconds = Date.now() / 1000 - at;
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${new Date(at * 1000).toISOString().slice(11, 16)} UTC`;
}

function entry(start) {
  const line = document.createElement("li");
  const [name, time] = [document.createElement("strong"), document.createElement("time")];
  line.dataset.key = start.key;
  name.textContent = start.name;
  time.dateTime = new Date(start.at * 1000).toISOString();
  time.textContent = when(start.at);
  line.append("A test session started in ", name, " ", time);
  return line;
}

function show(feed) {
  const before = known;
  known = new Set(feed.starts.map((start) => start.key));
  total.textContent = feed.total === null ? "…" : feed.total.toLocaleString("en-GB");
  missing.hidden = !feed.missing.length;
  missing.querySelector("span").textContent = feed.missing.join(", ");
  quiet.hidden = feed.starts.length > 0;
  dots.replaceChildren();
  for (const start of [...feed.starts].reverse()) dot(start, before !== null && !before.has(start.key));
  list.replaceChildren(...feed.starts.slice(0, LISTED).map(entry));
}

async function look() {
  clearTimeout(timer);
  if (document.hidden || paused) return;
  try {
    const headers = look.etag ? { "If-None-Match": look.etag } : {};
    const answer = await fetch(world.dataset.feed, { headers, cache: "no-store" });
    if (answer.status === 200) {
      look.etag = answer.headers.get("ETag");
      show(await answer.json());
    } else if (answer.status !== 304) {
      throw new Error();
    }
    wait = SECONDS;
    stale.hidden = true;
  } catch {
    wait = Math.min(2 * wait, MOST_SECONDS);
    stale.textContent = "The site cannot be reached. The map stands still until it can.";
    stale.hidden = false;
  }
  clearTimeout(timer);
  timer = setTimeout(look, wait * 1000);
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.setAttribute("aria-pressed", paused);
  world.classList.toggle("paused", paused);
  look();
});
document.addEventListener("visibilitychange", look);
look();
