// Buttons that number the tasks of a new test in the order in which they are picked.

const form = document.querySelector("[data-places]");
const rows = [...form.querySelectorAll("li[data-minutes]")].map((row) => ({
  row,
  place: row.querySelector("input"),
  button: document.createElement("button"),
}));

const chosen = () => rows.filter(({ place }) => place.value).sort((a, b) => a.place.value - b.place.value);

function toggle(picked) {
  const order = chosen().filter((each) => each !== picked);
  if (!picked.place.value) order.push(picked);
  picked.place.value = "";
  order.forEach((each, index) => (each.place.value = index + 1));
  show();
}

function show() {
  for (const { row, place, button } of rows) {
    row.classList.toggle("chosen", place.value !== "");
    button.textContent = place.value ? "Remove" : "Add";
    button.setAttribute("aria-label", `${button.textContent} ${button.value}`);
  }
  const picked = chosen();
  const minutes = picked.reduce((sum, { row }) => sum + Number(row.dataset.minutes), 0);
  form.querySelector("[data-sum]").textContent = picked.length
    ? `${picked.length} ${picked.length === 1 ? "task" : "tasks"}, about ${minutes} min of work`
    : "";
}

for (const each of rows) {
  each.button.value = each.row.querySelector("strong").lastChild.textContent;
  each.button.type = "button";
  each.button.className = "copy";
  each.button.addEventListener("click", () => toggle(each));
  each.place.addEventListener("input", show);
  each.row.append(each.button);
}
show();
