// The page of serve: loads a recording, and shows the results of each run.

import { classTrack, createElement, eventRows, formatClock, silentRow, topClassRows } from "./drawing.js";
import { playFrom, setSource, showPreview } from "./player.js";
import { MAX_SECONDS, Recorder } from "./recorder.js";
import { RequestError, uploadAndStream } from "./upload.js";

const byId = (id) => document.getElementById(id);

let runs = [];
let limits = {};
let duration = 0; // of the recording in seconds
let controller = null; // an AbortController during a request
let recorder = null;

// ---- The runs

async function init() {
  ({ runs, limits } = await (await fetch("/api/runs")).json());
  const names = runs.map((run) => run.name);
  document.title = `${names.join(" and ")}: dcase2018`;
  byId("title").textContent = names.join(" and ");
  const classes = [...new Set(runs.flatMap((run) => run.classes))];
  byId("classes").hidden = false;
  byId("classes").querySelector("summary").textContent = `${classes.length} classes`;
  byId("classes").querySelector("ul").replaceChildren(...classes.map((label) => createElement("li", { text: label })));
  byId("limits").textContent = `WAV, FLAC, Ogg, MP3, M4A and others, up to ${formatSize(limits.bytes)} and ${limits.seconds / 3600} hours`;
  byId("api").textContent = `curl --data-binary @sound.wav ${location.origin}/api/tag`;
}

const formatSize = (bytes) => (bytes >= 1e9 ? `${bytes / 1e9} GB` : `${Math.round(bytes / 1e6)} MB`);

// ---- Upload and results

async function loadFile(file, isRecorded = false) {
  await initialized;
  controller?.abort();
  showError("");
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
    duration = message.preview.seconds;
    byId("result").hidden = false;
    showPreview(message.preview);
  }
  const card = byId("taggers").children[message.run];
  if (message.scores) {
    card.classList.remove("pending");
    const rows = message.is_silent ? [silentRow()] : topClassRows(message.scores, 3);
    card.querySelector(".top-classes").replaceChildren(...rows);
  }
  if (message.top_classes) showScoresOverTime(card, message);
}

function showScoresOverTime(card, { boundaries, top_classes: topClasses, events, n_more_events: nMoreEvents, threshold }) {
  card.querySelector(".class-tracks").replaceChildren(...topClasses.map((scores) => classTrack(scores, boundaries, events, duration)));
  card.querySelector("tbody").replaceChildren(...eventRows(events, playFrom));
  card.querySelector("table").hidden = !events.length;
  card.querySelector(".no-events").hidden = events.length > 0;
  card.querySelector(".no-events").textContent = `No class reaches a score of ${threshold}.`;
  card.querySelector(".more-events").hidden = !nMoreEvents;
  card.querySelector(".more-events").textContent = `and ${nMoreEvents} more`;
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

async function record() {
  if (recorder) return stopRecording();
  cancel();
  showError("");
  try {
    recorder = await Recorder.start((seconds, level) => {
      byId("record").textContent = `Stop (${formatClock(seconds)})`;
      byId("level").style.setProperty("--level", level);
      if (seconds >= MAX_SECONDS) stopRecording();
    });
  } catch (error) {
    return showError(`The microphone cannot be used: ${error.message}`);
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

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files.length) loadFile(event.dataTransfer.files[0]);
});

const initialized = init();
initialized.catch(() => showError("the connection to the server failed"));
