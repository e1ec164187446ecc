// Waits for a report: asks for a few bytes, more slowly each time, and puts the page in when there is news.

const MOST_SECONDS = 30;
const main = document.querySelector("main");
const said = document.createElement("p");
said.className = "hidden";
said.setAttribute("role", "status");
main.after(said);
let etag = "";
let wait = 1;
let timer = 0;

const mark = () => main.querySelector("[data-state]");

async function renew() {
  const answer = await fetch(location.href, { cache: "no-store" });
  if (!answer.ok || answer.redirected) throw new Error();
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  const hadFocus = main.contains(document.activeElement) && document.activeElement !== main;
  main.replaceChildren(...fresh.childNodes);
  if (hadFocus) main.focus({ preventScroll: true });
  said.textContent = main.querySelector(".waiting h2, .total h2")?.parentElement.innerText ?? "";
}

async function look() {
  clearTimeout(timer);
  if (document.hidden || !mark()) return;
  try {
    const answer = await fetch(mark().dataset.state, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
    if (answer.status === 200) {
      etag = answer.headers.get("ETag");
      const state = await answer.json();
      if (state.status !== mark().dataset.status) await renew();
      wait = state.again;
    } else if (answer.status === 304) {
      wait = Math.min(1.5 * wait, MOST_SECONDS);
    } else {
      return; // logged out, or gone: the page's own link says so
    }
  } catch {
    wait = Math.min(2 * wait, MOST_SECONDS);
  }
  clearTimeout(timer);
  if (mark()) timer = setTimeout(look, wait * 1000);
}

document.addEventListener("visibilitychange", look);
look();
