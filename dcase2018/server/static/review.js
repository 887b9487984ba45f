// The page of review: plays one clip after the other and stores the decisions of the reviewer.

import { closeSearch, openSearch } from "./class-search.js";
import { loadAudio, loadDescription, request } from "./clip-media.js";
import { createElement, silentRow, topClassRows } from "./drawing.js";
import { formatPace } from "./pace.js";
import { pause, playFrom, removeSource, setSource, showPreview, togglePlay } from "./player.js";

const N_EXAMPLES = 3;
const DESCRIPTIONS = {
  keep: ({ label }) => `keep ${label}`,
  accept: ({ label }) => `accept ${label}`,
  other: ({ label }) => `another class, ${label}`,
  none: () => "none of the classes",
  skip: () => "skip",
};

const byId = (id) => document.getElementById(id);
const example = new Audio();

let review; // what the server returned
let current = null; // the clip on the page; null at the end
let proposal = ""; // for the current clip
let isSaving = false;
let skippedAgain = new Set(); // skipped clips that are to be shown once more

// ---- Clips

async function loadReview() {
  review = await (await request("/api/review")).json();
  byId("title").textContent = document.title = `Review of ${review.source}`;
  byId("log").textContent = byId("output").textContent = review.output;
  byId("reviewer").textContent = review.reviewer;
}

const isSkipped = (clip) => clip.decision?.decision === "skip";
const isOpen = (clip) => !clip.decision || skippedAgain.has(clip);

// The first clip after another one that needs a decision, from the start again after the last.
function nextOpen(clip) {
  const start = review.clips.indexOf(clip) + 1;
  return [...review.clips.slice(start), ...review.clips.slice(0, start)].find((other) => other !== clip && isOpen(other));
}

async function show(clip) {
  current = clip;
  closeSearch();
  stopExample();
  removeSource();
  showProgress();
  byId("result").hidden = !clip;
  byId("finished").hidden = Boolean(clip);
  if (!clip) return showEnd();
  showClip(clip);
  byId("name").focus({ preventScroll: true }); // a screen reader announces the clip
  try {
    const description = await loadDescription(clip.id);
    if (clip === current) showDescription(description);
    const audio = await loadAudio(clip.id);
    if (clip !== current) return;
    setSource(audio);
    if (!(await playFrom(0)) && clip === current) showStatus("Press Space or a button to start the sound.");
  } catch (error) {
    if (clip === current) showError(`The clip can be decided, but not played: ${error.message}`);
  }
  const next = nextOpen(clip);
  if (next && clip === current) Promise.all([loadDescription(next.id), loadAudio(next.id)]).catch(() => {}); // reported when shown
}

function showClip(clip) {
  byId("result").classList.add("loading");
  byId("name").textContent = clip.fname;
  byId("place").textContent = `clip ${review.clips.indexOf(clip) + 1} of ${review.clips.length}`;
  byId("length").textContent = "";
  const probability = clip.issue_probability === null ? "" : `probability of a label error ${clip.issue_probability.toFixed(2)}`;
  byId("reason").textContent = [clip.reason, probability].filter(Boolean).join(" · ");
  byId("given").textContent = clip.label;
  byId("given-examples").replaceChildren(...exampleButtons(clip, clip.label, 1));
  byId("keep").textContent = `Keep ${clip.label}`;
  byId("scores").replaceChildren();
  showProposal(clip, clip.proposal, clip.proposal && "by the list");
  showDecision(clip);
}

function showDescription({ scores, is_silent: isSilent, played_seconds: played, ...preview }) {
  showPreview(preview);
  byId("result").classList.remove("loading");
  byId("scores").replaceChildren(...(isSilent ? [silentRow()] : topClassRows(scores, 3)));
  if (played < preview.seconds) byId("length").textContent += `, of which the first ${played / 60} minutes are played`;
  if (proposal) return;
  const [best] = Object.keys(scores).filter((label) => label !== current.label).sort((a, b) => scores[b] - scores[a]);
  showProposal(current, best ?? "", "by the tagger");
}

function showProposal(clip, label, origin) {
  proposal = label;
  byId("proposal").textContent = label || "–";
  byId("proposal-origin").textContent = origin;
  byId("accept").textContent = label ? `Accept ${label}` : "Accept";
  buttonOf("a").disabled = !label;
  byId("proposal-examples").replaceChildren(...(label ? exampleButtons(clip, label, 1 + N_EXAMPLES) : []));
}

const buttonOf = (key) => document.querySelector(`#result [data-key="${key}"]`);

function showDecision({ decision }) {
  byId("decided").textContent = decision ? `Decided: ${DESCRIPTIONS[decision.decision](decision)}` : "";
  const keys = { keep: "k", accept: "a", other: "c", none: "x", skip: "s" };
  for (const [name, key] of Object.entries(keys)) buttonOf(key).setAttribute("aria-pressed", decision?.decision === name);
}

function showProgress() {
  byId("progress").value = review.clips.filter((clip) => clip.decision).length / review.clips.length;
  byId("pace").textContent = formatPace(review.clips);
}

function showEnd() {
  const skipped = review.clips.filter(isSkipped);
  byId("finished-summary").textContent = skipped.length ? `${skipped.length} of ${review.clips.length} clips were skipped.` : "No clip was skipped.";
  byId("skipped").hidden = !skipped.length;
  byId("finished-title").focus();
}

const showStatus = (text) => (byId("status").textContent = text);
const showError = (text) => (byId("error").textContent = text);

// ---- Verified clips to compare

function exampleButtons(clip, label, firstNumber) {
  const ids = (review.examples[label] ?? []).filter((id) => id !== clip.id).slice(0, N_EXAMPLES);
  if (!ids.length) return [createElement("p", { class: "note", text: "no verified clip" })];
  return ids.map((id, i) => {
    const number = `${firstNumber + i}`;
    const button = createElement(
      "button",
      { class: "button", type: "button", "data-key": number, "aria-keyshortcuts": number, "aria-label": `Play verified clip ${i + 1} of ${label}` },
      createElement("kbd", { "aria-hidden": "true", text: number }),
      " ▶",
    );
    button.dataset.clip = id;
    return button;
  });
}

async function playExample(button) {
  const wasPlaying = button.classList.contains("playing");
  stopExample();
  pause();
  if (wasPlaying) return;
  button.classList.add("playing");
  try {
    const audio = await loadAudio(button.dataset.clip);
    if (!button.classList.contains("playing")) return;
    example.src = URL.createObjectURL(audio);
    await example.play();
  } catch (error) {
    if (error.name !== "AbortError") showError(`The verified clip cannot be played: ${error.message}`);
    button.classList.remove("playing");
  }
}

function stopExample() {
  example.pause();
  URL.revokeObjectURL(example.src);
  document.querySelector(".playing")?.classList.remove("playing");
}

// ---- Decisions

async function save(path, values) {
  isSaving = true;
  showError("");
  try {
    const body = JSON.stringify(values);
    // A request that is kept alive reaches the server even if the page is closed.
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: true };
    const { id, ...state } = await (await request(path, options)).json();
    const clip = review.clips.find((other) => other.id === id);
    skippedAgain.delete(clip);
    return Object.assign(clip, state);
  } catch (error) {
    showError(`Not saved: ${error.message}.`);
    if (error.status === 409) await refresh();
    return null;
  } finally {
    isSaving = false;
  }
}

// Read the decisions of another window.
async function refresh() {
  const { clips } = await (await request("/api/review")).json();
  const states = new Map(clips.map(({ id, revision, decision }) => [id, { revision, decision }]));
  for (const clip of review.clips) Object.assign(clip, states.get(clip.id));
  if (current) showDecision(current);
  showProgress();
}

async function decide(decision, label = "") {
  if (!current || isSaving || (decision === "accept" && !label)) return;
  const clip = await save("/api/decisions", { id: current.id, decision, label, revision: current.revision });
  if (!clip) return;
  showStatus(`${clip.fname}: ${DESCRIPTIONS[decision](clip.decision)}`);
  await show(nextOpen(clip) ?? null);
}

async function undo() {
  if (isSaving) return;
  const clip = await save("/api/undo", {});
  if (!clip) return;
  showStatus(`${clip.fname}: undone`);
  await show(clip);
}

function move(step) {
  if (!current || isSaving) return;
  showError("");
  showStatus("");
  const { clips } = review;
  show(clips[(clips.indexOf(current) + step + clips.length) % clips.length]);
}

// ---- Keys and buttons

const KEYS = {
  k: () => decide("keep"),
  a: () => decide("accept", proposal),
  c: () => current && openSearch(review.classes, (label) => decide("other", label)),
  x: () => decide("none"),
  s: () => decide("skip"),
  u: undo,
  n: () => move(1),
  p: () => move(-1),
  " ": () => {
    stopExample();
    if (byId("player").getAttribute("src")) togglePlay();
  },
};

function press(key) {
  const button = document.querySelector(`.examples [data-key="${key}"]`);
  if (button) playExample(button);
  else KEYS[key]?.();
}

addEventListener("keydown", (event) => {
  const isOnButton = event.target.closest("button, a") && (event.key === " " || event.key === "Enter");
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || isOnButton) return;
  const key = event.key.toLowerCase();
  if (!KEYS[key] && !/^[1-6]$/.test(key)) return;
  event.preventDefault();
  press(key);
});
addEventListener("click", (event) => {
  const button = event.target.closest("[data-key]");
  if (button && event.detail < 2) press(button.dataset.key); // the second click of a double click meets another clip
});
byId("skipped").addEventListener("click", () => {
  skippedAgain = new Set(review.clips.filter(isSkipped));
  show(review.clips.find(isOpen));
});
example.addEventListener("ended", stopExample);
addEventListener("focus", () => review && !isSaving && refresh().catch(() => {})); // a decision reports a lost connection

loadReview().then(
  () => show(review.clips.find(isOpen) ?? null),
  (error) => showError(`The review cannot be loaded: ${error.message}.`),
);
