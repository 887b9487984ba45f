// The player of both pages: waveform, log mel spectrogram and position of a recording.

import { formatTime, freqTicks, timeTickLabels, waveformPath } from "./drawing.js";
import { getView, onViewChange, resetView, scrollTo, setView, timeTicks, toFraction } from "./time-view.js";

const byId = (id) => document.getElementById(id);
const player = byId("player");

const TICK_PIXELS = 80; // between two ticks of the time axis

let duration = 0; // of the recording in seconds
let peaks = [];

// Play another file from now on. Returns its address.
export function setSource(file) {
  URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(file);
  byId("unplayable").hidden = true;
  setPosition(0);
  return player.src;
}

export function removeSource() {
  URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  player.load();
}

export function showPreview(preview) {
  ({ seconds: duration, peaks } = preview);
  byId("length").textContent = formatTime(duration);
  byId("warning").hidden = duration > 0 && !preview.warning;
  byId("warning").textContent = warningText(preview.warning);
  byId("spectrogram").src = preview.spectrogram;
  byId("freq-axis").replaceChildren(...freqTicks(preview.freq_ticks));
  byId("position").setAttribute("aria-valuemax", duration.toFixed(1));
  resetView(duration);
  setPosition(0);
}

function warningText(warning) {
  if (!duration) return "Warning: the recording has no samples.";
  return `Warning: ${warning.replace(/^incomplete:/, "the file is incomplete:")}.`;
}

function drawView() {
  const { span, from } = getView();
  byId("waveform").firstElementChild.setAttribute("d", waveformPath(peaks));
  byId("spectrogram").style.width = `${(span ? duration / span : 1) * 100}%`;
  byId("spectrogram").style.marginLeft = `${(span ? -from / span : 0) * 100}%`;
  const count = Math.max(2, byId("time-axis").clientWidth / TICK_PIXELS);
  byId("time-axis").replaceChildren(...timeTickLabels(timeTicks(count)));
  drawPosition();
}

const isPlayable = () => byId("unplayable").hidden;
export const currentTime = () => (isPlayable() ? player.currentTime : Number(byId("position").getAttribute("aria-valuenow")));
const clampTime = (time) => Math.max(0, Math.min(duration, time));

const drawPosition = () => document.documentElement.style.setProperty("--position", toFraction(byId("position").getAttribute("aria-valuenow")));

function setPosition(time) {
  const now = clampTime(time);
  byId("position").setAttribute("aria-valuenow", now.toFixed(2));
  scrollTo(now);
  drawPosition();
  byId("position").setAttribute("aria-valuetext", `${formatTime(now)} of ${formatTime(duration)}`);
}

function seek(time) {
  if (isPlayable()) player.currentTime = clampTime(time);
  setPosition(time);
}

// Returns a promise of whether the browser plays. It plays nothing before the first key or click on the page.
export function playFrom(time) {
  seek(time);
  return player.play().then(
    () => true,
    () => false, // the error event of the player reports what it cannot play
  );
}

export const pause = () => player.pause();
export const togglePlay = () => (player.paused ? playFrom(player.ended ? 0 : currentTime()) : pause());

function updatePosition() {
  setPosition(player.currentTime);
  if (!player.paused) requestAnimationFrame(updatePosition);
}

function seekByPointer(event) {
  const track = event.target.closest(".track");
  if (!track || (event.type === "pointermove" && !event.buttons)) return;
  const { left, width } = track.getBoundingClientRect();
  const { from, span } = getView();
  seek(from + Math.max(0, Math.min(1, (event.clientX - left) / width)) * span);
}

const seekStep = () => Math.max(0.01, getView().span / 100);
const KEYS = {
  ArrowLeft: () => seek(currentTime() - seekStep()),
  ArrowDown: () => seek(currentTime() - seekStep()),
  ArrowRight: () => seek(currentTime() + seekStep()),
  ArrowUp: () => seek(currentTime() + seekStep()),
  PageDown: () => seek(currentTime() - 10 * seekStep()),
  PageUp: () => seek(currentTime() + 10 * seekStep()),
  Home: () => seek(0),
  End: () => seek(duration),
  " ": togglePlay,
};

onViewChange(drawView);
addEventListener("resize", () => setView(getView().from, getView().span));
player.addEventListener("play", updatePosition);
player.addEventListener("timeupdate", () => setPosition(player.currentTime));
player.addEventListener("error", () => (byId("unplayable").hidden = !player.getAttribute("src")));
byId("result").addEventListener("pointerdown", seekByPointer);
byId("result").addEventListener("pointermove", seekByPointer);
byId("position").addEventListener("keydown", (event) => {
  if (!KEYS[event.key]) return;
  event.preventDefault();
  event.stopPropagation();
  KEYS[event.key]();
});
