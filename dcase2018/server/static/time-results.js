// The scores over time and the events of all runs, with one choice of classes and one threshold for all.

import { classTrack, createElement, eventRows } from "./drawing.js";
import { EVENT_FILES, eventFile } from "./event-files.js";
import { playFrom } from "./player.js";
import { onViewChange } from "./time-view.js";

const N_TOP = 3;
const N_CLASSES = 8; // that are shown first
const MAX_ROWS = 500; // of events in the page
const DEFAULT_THRESHOLD = 0.5;

const byId = (id) => document.getElementById(id);
const threshold = byId("threshold");

let fname = "";
let results = []; // of each run: name, scores, is_silent, boundaries, class_scores, detections, freq_range
let showsAll = false;

export function resetTimeResults(name, runs) {
  fname = name;
  results = runs.map((run) => ({ name: run.name }));
  showsAll = false;
  byId("over-time").hidden = byId("events").hidden = true;
  threshold.value = DEFAULT_THRESHOLD;
  byId("class-filter").replaceChildren();
  byId("class-tracks").replaceChildren(...runs.map(() => createElement("article")));
  byId("event-lists").replaceChildren(...runs.map(() => byId("event-list").content.cloneNode(true).firstElementChild));
}

export function addResult({ run, ...values }) {
  Object.assign(results[run], values);
  if (!values.detections) return;
  byId("over-time").hidden = byId("events").hidden = finished().every((result) => result.is_silent);
  draw();
}

// ---- The classes in view

const finished = () => results.filter((result) => result.detections);
const detection = (result) => result.detections.find((candidate) => Math.abs(candidate.threshold - threshold.value) < 0.01);
const allClasses = () => [...new Set(finished().flatMap((result) => Object.keys(result.class_scores)))];
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function topClasses({ scores }) {
  return Object.keys(scores).sort((a, b) => scores[b] - scores[a]).slice(0, N_TOP);
}

function eventSeconds(label) {
  const events = finished().flatMap((result) => detection(result).events);
  return events.reduce((sum, event) => sum + (event.label === label ? event.offset - event.onset : 0), 0);
}

// The top three of the whole recording by each run, then the classes with most time in events.
function selectClasses() {
  const score = (label) => mean(finished().map(({ scores }) => scores[label] ?? 0));
  const top = [...new Set(finished().flatMap(topClasses))].sort((a, b) => score(b) - score(a));
  const rest = allClasses().filter((label) => !top.includes(label));
  if (showsAll) return [...top, ...rest.sort((a, b) => score(b) - score(a))];
  const seconds = new Map(rest.map((label) => [label, eventSeconds(label)]));
  const active = rest.filter((label) => seconds.get(label) > 0).sort((a, b) => seconds.get(b) - seconds.get(a));
  return [...top, ...active.slice(0, Math.max(0, N_CLASSES - top.length))];
}

// ---- Drawing

function draw() {
  byId("threshold-value").textContent = Number(threshold.value).toFixed(2);
  drawTracks();
  drawFilter();
  results.forEach((result, i) => result.detections && drawEvents(result, byId("event-lists").children[i]));
}

const runHeading = ({ name }) => createElement("h4", { class: results.length > 1 ? "" : "visually-hidden", text: name });

function drawTracks() {
  if (!finished().length) return;
  const labels = selectClasses();
  const nClasses = allClasses().length;
  byId("class-count").textContent = `${labels.length} of ${nClasses} classes`;
  byId("all-classes").hidden = !showsAll && labels.length === nClasses;
  byId("all-classes").textContent = showsAll ? "Show fewer" : `Show all ${nClasses}`;
  byId("all-classes").setAttribute("aria-expanded", showsAll);
  results.forEach((result, i) => {
    if (!result.detections) return;
    const tracks = result.is_silent ? [createElement("p", { class: "note", text: "The recording is silent." })] : labels.map((label) => track(label, result));
    byId("class-tracks").children[i].replaceChildren(runHeading(result), ...tracks);
  });
}

const track = (label, result) => classTrack(label, result.class_scores[label] ?? [], result.boundaries, detection(result));

// The select lists the classes that have events, and the chosen one.
function drawFilter() {
  const filter = byId("class-filter");
  const chosen = filter.value;
  const found = new Set(finished().flatMap((result) => detection(result).events.map(({ label }) => label)));
  const labels = allClasses().filter((label) => found.has(label) || label === chosen);
  filter.replaceChildren(createElement("option", { value: "", text: "all classes" }), ...labels.map((label) => createElement("option", { value: label, text: label })));
  filter.value = chosen;
}

const countText = (count) => `${count} event${count === 1 ? "" : "s"}`;

function drawEvents(result, list) {
  const { events, n_more: nMore } = detection(result);
  const label = byId("class-filter").value;
  const shown = label ? events.filter((event) => event.label === label) : events;
  list.querySelector("h4").replaceWith(runHeading(result));
  list.querySelector(".event-count").textContent = label ? `${shown.length} of ${countText(events.length)}` : countText(events.length);
  list.querySelector("tbody").replaceChildren(...eventRows(shown.slice(0, MAX_ROWS), playFrom));
  list.querySelector(".scroll").hidden = list.querySelector(".downloads").hidden = !shown.length;
  list.querySelector(".no-events").hidden = shown.length > 0;
  list.querySelector(".no-events").textContent = noEventsText(result, label);
  list.querySelector(".more-events").hidden = shown.length <= MAX_ROWS && !nMore;
  list.querySelector(".more-events").textContent = moreText(shown.length, nMore);
  list.querySelector(".downloads").replaceChildren("Download: ", ...Object.keys(EVENT_FILES).map((format) => downloadButton(format, shown, result)));
}

function noEventsText(result, label) {
  if (result.is_silent) return "The recording is silent.";
  return `${label || "No class"} ${label ? "does not reach" : "reaches"} a score of ${Number(threshold.value).toFixed(2)}.`;
}

function moreText(nShown, nMore) {
  const rows = nShown > MAX_ROWS ? `and ${nShown - MAX_ROWS} more, which the files contain. ` : "";
  return rows + (nMore ? `${nMore} later events are left out; dcase2018 tag writes all of them.` : "");
}

function downloadButton(format, events, result) {
  const button = createElement("button", { class: "link-button", type: "button", text: format });
  button.addEventListener("click", () => {
    const file = eventFile(format, events, fname, result.freq_range);
    const url = URL.createObjectURL(file);
    const run = results.length > 1 ? `${result.name}.`.replaceAll("/", "_") : "";
    createElement("a", { href: url, download: run + file.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  });
  return button;
}

// ---- Events

threshold.addEventListener("input", draw);
byId("class-filter").addEventListener("change", draw);
byId("all-classes").addEventListener("click", () => {
  showsAll = !showsAll;
  drawTracks();
});
onViewChange(drawTracks);
