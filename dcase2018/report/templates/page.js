"use strict";

// Sort a table by the column whose heading is pressed; pressed again, the other way round. Empty cells stay last.
function sort(table, header) {
  const down = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
  const key = (row) => row.cells[header.cellIndex].dataset.value ?? row.cells[header.cellIndex].textContent.trim();
  const rows = [...table.tBodies[0].rows];
  const numeric = rows.every((row) => !isNaN(key(row)));
  const order = (a, b) => (numeric ? a - b : a.localeCompare(b, "en"));
  rows.sort((a, b) => (key(a) === "") - (key(b) === "") || down * order(key(a), key(b)));
  table.tBodies[0].append(...rows);
}

for (const button of document.querySelectorAll(".sortable button")) {
  button.addEventListener("click", () => sort(button.closest("table"), button.closest("th")));
}

// Open the class whose clip a link leads to, where the browser does not.
function reveal() {
  const details = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details");
  if (details) details.open = true;
}

addEventListener("hashchange", reveal);
reveal();
