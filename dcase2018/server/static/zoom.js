// Zoom of the page of serve: buttons, keys, the wheel with Ctrl, and a slider that moves the view.

import { formatTime } from "./drawing.js";
import { currentTime } from "./player.js";
import { getView, onViewChange, setView, toFraction, zoom } from "./time-view.js";

const byId = (id) => document.getElementById(id);
const scroll = byId("scroll");

function zoomAtPosition(factor) {
  const { from, span } = getView();
  const fraction = toFraction(currentTime());
  zoom(factor, fraction >= 0 && fraction <= 1 ? currentTime() : from + span / 2);
}

const showAll = () => setView(0, getView().duration);
const KEYS = { "+": () => zoomAtPosition(2), "-": () => zoomAtPosition(1 / 2), 0: showAll };

byId("zoom-in").addEventListener("click", KEYS["+"]);
byId("zoom-out").addEventListener("click", KEYS["-"]);
byId("zoom-reset").addEventListener("click", showAll);
byId("position").addEventListener("keydown", (event) => !event.ctrlKey && !event.metaKey && KEYS[event.key]?.());
scroll.addEventListener("input", () => setView(Number(scroll.value), getView().span));

byId("result").addEventListener(
  "wheel",
  (event) => {
    const track = event.target.closest(".track");
    if (!track || !event.ctrlKey) return;
    event.preventDefault();
    const { left, width } = track.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, getView().from + ((event.clientX - left) / width) * getView().span);
  },
  { passive: false },
);

onViewChange(() => {
  const { duration, from, span } = getView();
  const isWhole = span >= duration;
  byId("zoom-out").disabled = byId("zoom-reset").disabled = isWhole;
  byId("shown").textContent = isWhole ? "" : `${formatTime(from)} to ${formatTime(from + span)}`;
  scroll.hidden = isWhole;
  scroll.max = Math.max(0, duration - span);
  scroll.step = span / 100;
  scroll.value = from;
  scroll.setAttribute("aria-valuetext", byId("shown").textContent);
});
