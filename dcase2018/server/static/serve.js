// The page of serve: loads a recording, and shows the results of each run.

import { createElement, formatClock, silentRow, topClassRows } from "./drawing.js";
import { setSource, showPreview } from "./player.js";
import { MAX_SECONDS, Recorder } from "./recorder.js";
import { addResult, resetTimeResults } from "./time-results.js";
import { RequestError, uploadAndStream } from "./upload.js";
import "./zoom.js";

const byId = (id) => document.getElementById(id);

const MSG_NO_SERVER = "The server does not respond. Is dcase2018 serve still running?";

let runs = [];
let limits = {};
let controller = null; // an AbortController during a request
let recorder = null;
let isStarting = false; // while the browser asks for the microphone

// ---- The runs

async function init() {
  let examples;
  ({ runs, limits, examples } = await (await fetch("/api/runs")).json());
  const names = runs.map((run) => run.name);
  document.title = `${names.join(" and ")}: dcase2018`;
  byId("title").textContent = names.join(" and ");
  const classes = [...new Set(runs.flatMap((run) => run.classes))];
  byId("classes").hidden = false;
  byId("classes").querySelector("summary").textContent = `${classes.length} classes`;
  byId("classes").querySelector("ul").replaceChildren(...classes.map((label) => createElement("li", { text: label })));
  byId("limits").textContent = `WAV, FLAC, Ogg, MP3, M4A, WebM and others, up to ${formatSize(limits.bytes)} and ${limits.seconds / 3600} hours`;
  document.querySelector(".examples").hidden = !examples.length;
  document.querySelector(".examples").append(...examples.map(exampleButton));
  byId("score-meaning").replaceChildren(...scoreMeanings().map((text) => createElement("p", { class: "note", text })));
  byId("api").textContent = `curl --data-binary @sound.wav ${location.origin}/api/tag`;
}

function exampleButton(name, number) {
  const button = createElement("button", { class: "link-button", type: "button", text: name });
  button.addEventListener("click", () => loadExample(name, number));
  return button;
}

async function loadExample(name, number) {
  try {
    const response = await fetch(`/api/examples/${number}`);
    if (!response.ok) return showError(`${name}: ${(await response.json()).error}`);
    await loadFile(new File([await response.blob()], name));
  } catch {
    showError(MSG_NO_SERVER);
  }
}

// One sentence if the scores of all runs mean the same, else one for each run.
function scoreMeanings() {
  const isSame = runs.every((run) => run.score_meaning === runs[0].score_meaning);
  return isSame ? [runs[0].score_meaning] : runs.map((run) => `${run.name}: ${run.score_meaning}`);
}

const formatSize = (bytes) => (bytes >= 1e9 ? `${bytes / 1e9} GB` : `${Math.round(bytes / 1e6)} MB`);

// ---- Upload and results

async function loadFile(file, isRecorded = false) {
  await initialized;
  controller?.abort();
  showError("");
  if (!file.size) return showError(`${file.name}: the file is empty`);
  if (file.size > limits.bytes) return showError(`${file.name} is too large: ${formatSize(file.size)}; the limit is ${formatSize(limits.bytes)}`);
  const current = (controller = new AbortController());
  const startTime = performance.now();
  resetResult(file, isRecorded);
  showProgress("Uploading ...", 0);
  try {
    await uploadAndStream(file, {
      onUpload: (fraction) => (fraction < 1 ? showProgress("Uploading ...", fraction) : showProgress("Processing ...", null)),
      onMessage: (message) => current === controller && showMessage(message),
      signal: current.signal,
    });
    showStatus(`Processed in ${((performance.now() - startTime) / 1000).toFixed(1)} s. ${summary()}`);
  } catch (error) {
    showStatus("");
    showError(error instanceof RequestError ? `${file.name}: ${error.message}` : `${error}`);
  }
  if (current === controller) controller = null;
}

function resetResult(file, isRecorded) {
  byId("save").href = setSource(file);
  byId("save").hidden = !isRecorded;
  byId("name").textContent = file.name;
  byId("result").hidden = true;
  byId("taggers").replaceChildren(...runs.map(createCard));
  byId("score-meaning").hidden = true;
  resetTimeResults(file.name, runs);
}

function createCard(run) {
  const card = byId("tagger").content.cloneNode(true).firstElementChild;
  card.querySelector("h3").textContent = run.name;
  card.querySelector("h3").classList.toggle("visually-hidden", runs.length === 1); // the page has the same heading
  card.classList.add("pending");
  return card;
}

function showMessage(message) {
  if (message.progress !== undefined) showProgress("Processing ...", message.progress);
  if (message.preview) {
    byId("result").hidden = false;
    showPreview(message.preview);
  }
  if (message.run !== undefined) addResult(message);
  if (message.scores) {
    const card = byId("taggers").children[message.run];
    card.classList.remove("pending");
    const rows = message.is_silent ? [silentRow()] : topClassRows(message.scores, 3);
    card.querySelector(".top-classes").replaceChildren(...rows);
    if (!message.is_silent) byId("score-meaning").hidden = false;
  }
}

const summary = () =>
  runs
    .map(({ name }, i) => [name, byId("taggers").children[i].querySelector("li")])
    .map(([name, first]) => `${name}: ${[...first.querySelectorAll(".label, data")].map(({ textContent }) => textContent).join(", ")}.`)
    .join(" ");

// ---- Status. Screen readers announce it only when its text changes, not when the bar moves.

function showProgress(text, fraction) {
  if (byId("status").textContent !== text) byId("status").textContent = text;
  byId("progress").hidden = byId("cancel").hidden = false;
  if (fraction === null) byId("progress").removeAttribute("value");
  else byId("progress").value = fraction;
}

function showStatus(text) {
  byId("status").textContent = text;
  byId("progress").hidden = byId("cancel").hidden = true;
}

function showError(text) {
  byId("error").textContent = text;
}

function cancel() {
  controller?.abort();
  controller = null;
  showStatus("");
}

// ---- Microphone

const MICROPHONE_ERRORS = {
  NotAllowedError: "the browser does not allow it; allow the microphone for this page",
  NotFoundError: "no microphone is connected",
  NotReadableError: "another program is using it",
};

async function record() {
  if (isStarting) return;
  if (recorder) return stopRecording();
  cancel();
  showError("");
  isStarting = true;
  try {
    recorder = await Recorder.start((seconds, level) => {
      byId("record").textContent = `Stop (${formatClock(seconds)})`;
      byId("level").style.setProperty("--level", level);
      if (seconds >= MAX_SECONDS) stopRecording();
    });
  } catch (error) {
    return showError(`The microphone cannot be used: ${MICROPHONE_ERRORS[error.name] ?? error.message}`);
  } finally {
    isStarting = false;
  }
  byId("record").textContent = "Stop (0:00)";
  document.body.classList.add("recording");
  byId("level").hidden = false;
  showStatus("Recording ...");
}

async function stopRecording() {
  if (!recorder) return;
  const file = recorder.stop();
  recorder = null;
  byId("record").textContent = "Record";
  document.body.classList.remove("recording");
  byId("level").hidden = true;
  await loadFile(await file, true);
}

// ---- Events

byId("file").addEventListener("change", ({ target }) => {
  if (target.files.length) loadFile(target.files[0]);
  target.value = ""; // allows choosing the same file again
});
byId("record").addEventListener("click", record);
byId("cancel").addEventListener("click", cancel);

function loadDropped({ items, files }) {
  if (!files.length) return;
  if (files.length > 1) return showError(`${files.length} files were dropped; drop one at a time`);
  if (items[0]?.webkitGetAsEntry?.()?.isDirectory) return showError(`${files[0].name} is a folder; drop an audio file`);
  loadFile(files[0]);
}

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  loadDropped(event.dataTransfer);
});

const initialized = init();
initialized.catch(() => showError(MSG_NO_SERVER));
