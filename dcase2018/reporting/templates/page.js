"use strict";

// Sort a table by the column of the pressed heading; pressing it again reverses the order. Empty cells stay last.
function sortTable(table, header) {
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
  const key = (row) => row.cells[header.cellIndex].dataset.value ?? row.cells[header.cellIndex].textContent.trim();
  const rows = [...table.tBodies[0].rows];
  const isNumeric = rows.every((row) => !isNaN(key(row)));
  const compare = (a, b) => (isNumeric ? a - b : a.localeCompare(b, "en"));
  rows.sort((a, b) => (key(a) === "") - (key(b) === "") || direction * compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll(".sortable button")) {
  button.addEventListener("click", () => sortTable(button.closest("table"), button.closest("th")));
}

// Open the collapsed class that contains the target of a link, in browsers that do not.
function openTarget() {
  const details = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
  if (details) details.open = true;
}

addEventListener("hashchange", openTarget);
openTarget();

// Apply the controls of a confusion matrix: counts or percentages, all classes or the confused ones.
function showMatrix(form) {
  const matrix = document.getElementById(form.dataset.matrix);
  const option = form.elements.show.selectedOptions[0];
  matrix.dataset.show = option.dataset.level;
  matrix.style.setProperty("--n", option.value);
  for (const cell of matrix.querySelectorAll("a[data-percent]")) {
    cell.dataset.count ??= cell.textContent;
    cell.textContent = form.elements.percent.checked ? cell.dataset.percent : cell.dataset.count;
  }
}

for (const form of document.querySelectorAll(".matrix-controls")) {
  const options = form.elements.show.options;
  if (matchMedia("(max-width: 40rem)").matches) form.elements.show.selectedIndex = options.length - 1;
  form.addEventListener("change", () => showMatrix(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  showMatrix(form);
}
