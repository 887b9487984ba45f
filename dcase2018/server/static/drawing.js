// Elements that show the results of a recording. Names from outside are only ever inserted as text.

import { getView, toFraction } from "./time-view.js";

const WIDTH = 1000; // of the view boxes

export function createElement(tag, { text, ...attributes } = {}, ...children) {
  const isSvg = ["svg", "path", "rect"].includes(tag);
  const element = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

// h:mm:ss or m:ss
export function formatClock(seconds) {
  const total = Math.floor(seconds);
  const parts = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

// With up to three decimals, which are cut off after milliseconds are rounded.
export function formatTime(seconds, decimals = 1) {
  const millis = Math.round(seconds * 1000);
  const fraction = String(millis % 1000).padStart(3, "0").slice(0, decimals);
  return formatClock(millis / 1000) + (fraction && `.${fraction}`);
}

const toX = (time) => (toFraction(time) * WIDTH).toFixed(2);

// The maxima of the columns in view, at most WIDTH of them, with their ends on the x axis.
function visibleColumns(values, boundaries) {
  const { from, span } = getView();
  const first = Math.max(0, boundaries.findIndex((time) => time > from) - 1);
  const after = boundaries.findIndex((time) => time >= from + span);
  const stop = after < 0 ? values.length : after;
  const size = Math.max(1, Math.ceil((stop - first) / WIDTH));
  const columns = [];
  for (let start = first; start < stop; start += size) {
    const end = Math.min(start + size, stop);
    columns.push({ left: toX(boundaries[start]), right: toX(boundaries[end]), value: Math.max(...values.slice(start, end)) });
  }
  return columns;
}

// Path of the part of a waveform in view, 100 units high, from the peaks of columns of equal duration.
export function waveformPath(peaks) {
  const { duration } = getView();
  const columns = visibleColumns(peaks, Array.from({ length: peaks.length + 1 }, (_, i) => (i * duration) / peaks.length));
  if (!columns.length) return "";
  const height = ({ value }) => Math.max(0.4, Math.min(1, value) * 49);
  const upper = columns.map((column) => `V${(50 - height(column)).toFixed(1)}H${column.right}`);
  const lower = columns.map((column) => `V${(50 + height(column)).toFixed(1)}H${column.left}`).reverse();
  return `M${columns[0].left},50${upper.join("")}${lower.join("")}Z`;
}

export function timeTickLabels({ times, decimals }) {
  return times.map((time) => {
    const tick = createElement("span", { text: formatTime(time, decimals) });
    tick.style.left = `${toFraction(time) * 100}%`;
    tick.classList.toggle("last", toFraction(time) > 0.95);
    return tick;
  });
}

export function freqTicks(ticks) {
  return ticks.map(([hz, height]) => {
    const tick = createElement("span", { text: hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz` });
    tick.style.bottom = `${height * 100}%`;
    return tick;
  });
}

export const silentRow = () => createElement("li", {}, createElement("span", { class: "label", text: "silent" }));

export function topClassRows(scores, count) {
  const sorted = Object.entries(scores).sort(([, a], [, b]) => b - a);
  return sorted.slice(0, count).map(([label, score]) => {
    const bar = createElement("i");
    bar.style.setProperty("--score", score);
    return createElement(
      "li",
      {},
      createElement("span", { class: "label", text: label }),
      createElement("data", { class: "numeric", value: score, text: score.toFixed(3) }),
      createElement("span", { class: "bar", "aria-hidden": "true" }, bar),
    );
  });
}

// A class over time: its score as an area, the threshold as a line, and its events below.
export function classTrack(label, scores, boundaries, { threshold, events }) {
  const columns = visibleColumns(scores, boundaries);
  const y = (score) => (28 - score * 26).toFixed(1);
  const steps = columns.map(({ right, value }) => `V${y(value)}H${right}`);
  const area = createElement("path", { class: "score", d: columns.length ? `M${columns[0].left},28${steps.join("")}V28Z` : "" });
  const line = createElement("path", { class: "threshold", d: `M0,${y(threshold)}H${WIDTH}` });
  const plot = createElement("svg", { viewBox: `0 0 ${WIDTH} 32`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
  for (const { onset, offset } of events.filter((event) => event.label === label)) {
    plot.append(createElement("rect", { x: toX(onset), width: Math.max(1, toX(offset) - toX(onset)), y: 28, height: 4 }));
  }
  const parts = label.split(/(?<=_)/).flatMap((part) => [part, document.createElement("wbr")]);
  const name = createElement("span", { class: "label", title: label }, ...parts);
  return createElement("div", { class: "class-track" }, name, createElement("div", { class: "track" }, plot));
}

// `play` is called with the onset when the button of a row is pressed.
export function eventRows(events, play) {
  return events.map(({ onset, offset, label, score }) => {
    const button = createElement("button", { class: "link-button", type: "button", text: formatTime(onset, 3), "aria-label": `Play ${label} from ${formatTime(onset, 3)}` });
    button.addEventListener("click", () => play(onset));
    return createElement(
      "tr",
      {},
      createElement("td", { text: label }),
      createElement("td", {}, button),
      createElement("td", { text: formatTime(offset, 3) }),
      createElement("td", { class: "numeric", text: score.toFixed(3) }),
    );
  });
}
