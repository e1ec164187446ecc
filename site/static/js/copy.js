// A Copy button beside each test link. Without this script the link is there to be opened or copied by hand.

const SHOWN_MS = 2000;

function addButton(box) {
  const link = box.querySelector("a");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  const about = link.querySelector(".hidden");
  if (about) button.setAttribute("aria-label", `Copy${about.textContent}`);
  button.addEventListener("click", () => copy(link.href, button));
  box.prepend(button);
}

async function copy(address, button) {
  button.textContent = (await written(address)) ? "Copied" : "Not copied";
  announce(button.textContent);
  setTimeout(() => (button.textContent = "Copy"), SHOWN_MS);
}

async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writtenByHand(text); // no clipboard on a plain http address
  }
}

function writtenByHand(text) {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}

function announce(text) {
  let region = document.getElementById("copy-said");
  if (!region) {
    region = document.createElement("p");
    region.id = "copy-said";
    region.className = "hidden";
    region.setAttribute("role", "status");
    document.body.append(region);
  }
  region.textContent = text;
}

for (const box of document.querySelectorAll("[data-copy]")) addButton(box);
