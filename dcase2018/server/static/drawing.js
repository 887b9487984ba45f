// Elements that show the results of a recording. Names from outside are only ever inserted as text.

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

// With tenths of a second.
export const formatTime = (seconds) => `${formatClock(seconds)}.${Math.floor((seconds % 1) * 10)}`;

// With milliseconds, so that no event has the length 0.
const formatMillis = (seconds) => `${formatClock(seconds)}.${String(Math.round((seconds % 1) * 1000)).padStart(3, "0")}`;

// Path of a waveform from its peaks, 100 units high.
export function waveformPath(peaks) {
  const step = WIDTH / peaks.length;
  const heights = peaks.map((peak) => Math.max(0.4, Math.min(1, peak) * 49));
  const upper = heights.map((height, i) => `V${(50 - height).toFixed(1)}H${((i + 1) * step).toFixed(2)}`);
  const lower = heights.map((height, i) => `V${(50 + height).toFixed(1)}H${(i * step).toFixed(2)}`).reverse();
  return `M0,50${upper.join("")}${lower.join("")}Z`;
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

// A class over time: its score as an area, and its events below.
export function classTrack({ label, scores }, boundaries, events, seconds) {
  const x = (time) => ((time / seconds) * WIDTH).toFixed(2);
  const steps = scores.map((score, i) => `V${(28 - score * 24).toFixed(1)}H${x(boundaries[i + 1])}`);
  const area = createElement("path", { d: `M0,28${steps.join("")}V28Z` });
  const plot = createElement("svg", { viewBox: `0 0 ${WIDTH} 28`, preserveAspectRatio: "none", "aria-hidden": "true" }, area);
  for (const { onset, offset } of events.filter((event) => event.label === label)) {
    plot.append(createElement("rect", { x: x(onset), width: Math.max(1, x(offset) - x(onset)), y: 25, height: 3 }));
  }
  const name = createElement("span", { class: "label", text: label, title: label });
  return createElement("div", { class: "class-track" }, name, createElement("div", { class: "track" }, plot));
}

// `play` is called with the onset when the button of a row is pressed.
export function eventRows(events, play) {
  return events.map(({ onset, offset, label, score }) => {
    const button = createElement("button", { class: "link-button", type: "button", text: formatMillis(onset), "aria-label": `Play ${label} from ${formatMillis(onset)}` });
    button.addEventListener("click", () => play(onset));
    return createElement(
      "tr",
      {},
      createElement("td", { text: label }),
      createElement("td", {}, button),
      createElement("td", { text: formatMillis(offset) }),
      createElement("td", { class: "numeric", text: score.toFixed(3) }),
    );
  });
}
