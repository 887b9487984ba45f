// The player of both pages: waveform, log mel spectrogram and position of a recording.

import { createElement, formatClock, formatTime, freqTicks, waveformPath } from "./drawing.js";

const byId = (id) => document.getElementById(id);
const player = byId("player");

let duration = 0; // of the recording in seconds

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

export function showPreview({ seconds, warning, peaks, spectrogram, freq_ticks: ticks }) {
  duration = seconds;
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
  " ": togglePlay,
};

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
