// The page: loads a recording, plays it, and shows the results of each run.

import { classTrack, createElement, eventRows, formatClock, formatTime, freqTicks, topClassRows, waveformPath } from "./drawing.js";
import { MAX_SECONDS, Recorder } from "./recorder.js";
import { RequestError, uploadAndStream } from "./upload.js";

const byId = (id) => document.getElementById(id);
const player = byId("player");

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
  URL.revokeObjectURL(player.src);
  const url = URL.createObjectURL(file);
  player.src = url;
  byId("unplayable").hidden = true;
  byId("save").href = url;
  byId("save").hidden = !isRecorded;
  byId("name").textContent = file.name;
  byId("result").hidden = true;
  byId("taggers").replaceChildren(...runs.map(createCard));
  setPosition(0);
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
  if (message.preview) showPreview(message.preview);
  const card = byId("taggers").children[message.run];
  if (message.scores) {
    card.classList.remove("pending");
    const rows = message.is_silent ? [createElement("li", {}, createElement("span", { class: "label", text: "silent" }))] : topClassRows(message.scores, 3);
    card.querySelector(".top-classes").replaceChildren(...rows);
  }
  if (message.top_classes) showScoresOverTime(card, message);
}

function showPreview({ seconds, warning, peaks, spectrogram, freq_ticks: ticks }) {
  duration = seconds;
  byId("result").hidden = false;
  byId("length").textContent = formatTime(duration);
  byId("warning").hidden = !warning;
  byId("warning").textContent = `Warning: ${warning}.`;
  byId("waveform").firstElementChild.setAttribute("d", waveformPath(peaks));
  byId("spectrogram").src = spectrogram;
  byId("freq-axis").replaceChildren(...freqTicks(ticks));
  const format = duration < 10 ? formatTime : formatClock;
  byId("time-axis").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((fraction) => createElement("span", { text: format(fraction * duration) })));
  byId("position").setAttribute("aria-valuemax", duration.toFixed(1));
  setPosition(0);
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

// ---- Player

const isPlayable = () => byId("unplayable").hidden;
const currentTime = () => (isPlayable() ? player.currentTime : Number(byId("position").getAttribute("aria-valuenow")));
const clampTime = (time) => Math.max(0, Math.min(duration, time));

function setPosition(time) {
  const now = clampTime(time);
  document.documentElement.style.setProperty("--position", duration ? now / duration : 0);
  byId("position").setAttribute("aria-valuenow", now.toFixed(2));
  byId("position").setAttribute("aria-valuetext", `${formatTime(now)} of ${formatTime(duration)}`);
}

function seek(time) {
  if (isPlayable()) player.currentTime = clampTime(time);
  setPosition(time);
}

function playFrom(time) {
  seek(time);
  player.play().catch(() => {}); // the error event of the player reports it
}

function updatePosition() {
  setPosition(player.currentTime);
  if (!player.paused) requestAnimationFrame(updatePosition);
}

function seekByPointer(event) {
  const track = event.target.closest(".track");
  if (!track || (event.type === "pointermove" && !event.buttons)) return;
  const { left, width } = track.getBoundingClientRect();
  seek(((event.clientX - left) / width) * duration);
}

const seekStep = () => Math.max(0.05, duration / 100);
const KEYS = {
  ArrowLeft: () => seek(currentTime() - seekStep()),
  ArrowDown: () => seek(currentTime() - seekStep()),
  ArrowRight: () => seek(currentTime() + seekStep()),
  ArrowUp: () => seek(currentTime() + seekStep()),
  PageDown: () => seek(currentTime() - 10 * seekStep()),
  PageUp: () => seek(currentTime() + 10 * seekStep()),
  Home: () => seek(0),
  End: () => seek(duration),
  " ": () => (player.paused ? playFrom(currentTime()) : player.pause()),
};

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

player.addEventListener("play", updatePosition);
player.addEventListener("timeupdate", () => setPosition(player.currentTime));
player.addEventListener("error", () => (byId("unplayable").hidden = !player.getAttribute("src")));
byId("result").addEventListener("pointerdown", seekByPointer);
byId("result").addEventListener("pointermove", seekByPointer);
byId("position").addEventListener("keydown", (event) => {
  if (!KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

const initialized = init();
initialized.catch(() => showError("the connection to the server failed"));
