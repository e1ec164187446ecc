// Keeps the console new: each part is asked for again, and only the sections that changed are put in.

const MOST_SECONDS = 60;
const PATIENCE_MS = 30_000; // for an answer: a site that hangs says nothing of it
const stale = document.querySelector("[data-stale]");
const said = document.querySelector("[data-said]");

function sections(root) {
  return [...root.querySelectorAll("[data-section]")];
}

function parsed(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content;
}

const REACHABLE = "a, button, summary, [tabindex]";

// What can have the focus: the section itself too, once it has lost its last link.
function reachable(section) {
  return [section, ...section.querySelectorAll(REACHABLE)];
}

// A section that holds the focus keeps it: at the same link, or else at the one in its place.
function refocus(fresh, before, at) {
  const after = reachable(fresh);
  const same = after.find((each) => each.outerHTML === before[at].outerHTML);
  const next = same ?? after[Math.min(at, after.length - 1)];
  if (next === fresh) fresh.tabIndex = -1;
  next.focus({ preventScroll: true });
}

function put(former, fresh) {
  const before = reachable(former);
  const at = before.indexOf(document.activeElement);
  const scrolled = [...former.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  former.replaceWith(fresh);
  fresh.querySelectorAll(".scroll").forEach((box, index) => (box.scrollLeft = scrolled[index] ?? 0));
  if (at >= 0) refocus(fresh, before, at);
}

function renew(box, shown, html) {
  const fresh = sections(parsed(html));
  const names = fresh.map((section) => section.dataset.section);
  const texts = new Map(fresh.map((section) => [section.dataset.section, section.outerHTML]));
  if (names.join() === [...shown.keys()].join()) {
    const old = sections(box);
    fresh.forEach((section, index) => {
      if (shown.get(names[index]) !== texts.get(names[index])) put(old[index], section);
    });
  } else {
    box.replaceChildren(...fresh);
  }
  return texts;
}

function announce(before) {
  const verdict = document.querySelector("[data-verdict]").textContent;
  if (verdict !== before) said.textContent = verdict;
}

async function asked(address) {
  const headers = { "X-Requested-With": "fetch" };
  const answer = await fetch(address, { headers, cache: "no-cache", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 403 || answer.status === 404) throw new Error("You are not logged in any more: load the page again.");
  if (!answer.ok) throw new Error("The site does not answer.");
  return answer.text();
}

function reason(error) {
  if (error instanceof TypeError) return "The site cannot be reached.";
  return error.name === "TimeoutError" ? "The site does not answer." : error.message;
}

function watch(box) {
  const seconds = Number(box.dataset.seconds);
  let wait = seconds;
  let timer = 0;
  let asking = false;
  let texts = new Map(sections(box).map((section) => [section.dataset.section, section.outerHTML]));
  const look = async () => {
    if (document.hidden || asking) return; // whoever asks already looks again by itself
    clearTimeout(timer);
    asking = true;
    try {
      const before = document.querySelector("[data-verdict]").textContent;
      texts = renew(box, texts, await asked(box.dataset.part));
      announce(before);
      wait = seconds;
      stale.hidden = true;
    } catch (error) {
      wait = Math.min(wait * 2, MOST_SECONDS);
      stale.textContent = `What you see is not new any more. ${reason(error)}`;
      stale.hidden = false;
    }
    asking = false;
    timer = setTimeout(look, wait * 1000);
  };
  document.addEventListener("visibilitychange", look);
  window.addEventListener("online", look);
  timer = setTimeout(look, wait * 1000);
}

for (const box of document.querySelectorAll("[data-part]")) watch(box);
