// What is said of a sound, as elements. Names from outside only ever become text.

const WIDTH = 1000;

export function make(tag, { text, ...attributes } = {}, ...children) {
  const svg = ["svg", "path", "rect"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

// Time to a tenth of a second.
export const moment = (seconds) => `${clock(seconds)}.${Math.floor((seconds % 1) * 10)}`;

// The outline of a sound from the peaks of equal parts of it, in a box of 100 units.
export function outline(peaks) {
  const step = WIDTH / peaks.length;
  const heights = peaks.map((peak) => Math.max(0.4, Math.min(1, peak) * 49));
  const there = heights.map((height, i) => `V${(50 - height).toFixed(1)}H${((i + 1) * step).toFixed(2)}`);
  const back = heights.map((height, i) => `V${(50 + height).toFixed(1)}H${(i * step).toFixed(2)}`).reverse();
  return `M0,50${there.join("")}${back.join("")}Z`;
}

export function ticks(places) {
  return places.map(([hertz, at]) => {
    const tick = make("span", { text: hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz` });
    tick.style.bottom = `${at * 100}%`;
    return tick;
  });
}

export function best(scores, count) {
  const order = Object.entries(scores).sort(([, a], [, b]) => b - a);
  return order.slice(0, count).map(([label, score]) => {
    const bar = make("i");
    bar.style.setProperty("--score", score);
    return make("li", {}, make("span", { class: "label", text: label }), make("data", { class: "number", value: score, text: score.toFixed(3) }), make("span", { class: "bar", "aria-hidden": "true" }, bar));
  });
}

// A class over time: its score as an area, and under it when it sounds.
export function lane({ label, scores }, edges, events, seconds) {
  const x = (time) => ((time / seconds) * WIDTH).toFixed(2);
  const steps = scores.map((score, i) => `V${(28 - score * 24).toFixed(1)}H${x(edges[i + 1])}`);
  const picture = make("svg", { viewBox: `0 0 ${WIDTH} 28`, preserveAspectRatio: "none", "aria-hidden": "true" }, make("path", { d: `M0,28${steps.join("")}V28Z` }));
  for (const { start, end } of events.filter((event) => event.label === label)) {
    picture.append(make("rect", { x: x(start), width: Math.max(1, x(end) - x(start)), y: 25, height: 3 }));
  }
  return make("div", { class: "lane" }, make("span", { class: "label", text: label, title: label }), make("div", { class: "track" }, picture));
}

// `play` is given the time that a row's button is pressed for.
export function eventRows(events, play) {
  return events.map(({ start, end, label, score }) => {
    const from = make("button", { class: "plain", type: "button", text: moment(start), "aria-label": `Play ${label} from ${moment(start)}` });
    from.addEventListener("click", () => play(start));
    return make("tr", {}, make("td", { text: label }), make("td", {}, from), make("td", { text: moment(end) }), make("td", { class: "number", text: score.toFixed(3) }));
  });
}
