// A field that searches a class by a part of its name, and a list of the matches.

import { createElement } from "./drawing.js";

const byId = (id) => document.getElementById(id);
const query = byId("query");
const matches = byId("matches");

let classes = [];
let choose = () => {};
let active = 0; // index of the selected match

// `onChoose` is called with the chosen class.
export function openSearch(names, onChoose) {
  [classes, choose] = [names, onChoose];
  setOpen(true);
  query.value = "";
  update();
  query.focus();
}

export function closeSearch() {
  setOpen(false);
}

function setOpen(isOpen) {
  byId("search").hidden = !isOpen;
  byId("choose").setAttribute("aria-expanded", isOpen);
}

// Classes that start with the query come first.
function matchingClasses() {
  const words = query.value.toLowerCase().trim().split(/[\s_]+/).join("_");
  const found = classes.filter((label) => label.toLowerCase().includes(words));
  const isPrefix = (label) => label.toLowerCase().startsWith(words);
  return [...found.filter(isPrefix), ...found.filter((label) => !isPrefix(label))];
}

function update() {
  active = 0;
  matches.replaceChildren(...matchingClasses().map((label, i) => createElement("li", { role: "option", id: `match-${i}`, text: label })));
  if (!matches.children.length) matches.append(createElement("li", { role: "none", text: "no class has this in its name" }));
  select(0);
}

function select(index) {
  const options = matches.querySelectorAll("[role=option]");
  if (!options.length) return query.removeAttribute("aria-activedescendant");
  active = (index + options.length) % options.length;
  options.forEach((option, i) => option.setAttribute("aria-selected", i === active));
  options[active].scrollIntoView({ block: "nearest" });
  query.setAttribute("aria-activedescendant", options[active].id);
}

function chooseOption(option) {
  if (!option) return;
  closeSearch();
  choose(option.textContent);
}

const KEYS = {
  ArrowDown: () => select(active + 1),
  ArrowUp: () => select(active - 1),
  Enter: () => chooseOption(matches.querySelector("[aria-selected=true]")),
  Escape: () => {
    closeSearch();
    byId("name").focus();
  },
};

query.addEventListener("input", update);
query.addEventListener("keydown", (event) => {
  event.stopPropagation(); // letters are no commands here
  if (!KEYS[event.key] || event.isComposing) return;
  event.preventDefault();
  KEYS[event.key]();
});
matches.addEventListener("click", (event) => chooseOption(event.target.closest("[role=option]")));
