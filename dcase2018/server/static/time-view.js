// The part of the recording in view, which all plots share. Times are in seconds.

const MAX_ZOOM = 200;
const MIN_SECONDS = 0.2;

const view = { duration: 0, from: 0, span: 0 };
const listeners = [];

export const getView = () => view;
export const onViewChange = (listener) => listeners.push(listener);

// Fraction of the view at a time: from 0 to 1 if the time is in view.
export const toFraction = (time) => (view.span ? (time - view.from) / view.span : 0);

export function setView(from, span) {
  const minSpan = Math.min(view.duration, Math.max(MIN_SECONDS, view.duration / MAX_ZOOM));
  view.span = Math.min(view.duration, Math.max(minSpan, span));
  view.from = Math.max(0, Math.min(view.duration - view.span, from));
  for (const listener of listeners) listener();
}

export function resetView(duration) {
  view.duration = duration;
  setView(0, duration);
}

// The time keeps its place in the view.
export const zoom = (factor, time) => setView(time - (time - view.from) / factor, view.span / factor);

// Move the view if a time is outside it.
export function scrollTo(time) {
  if (toFraction(time) < 0 || toFraction(time) > 1) setView(time - view.span / 20, view.span);
}

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];

// Round times in view, at most `count` and one more, with the decimals that they need.
export function timeTicks(count) {
  const step = STEPS.find((candidate) => view.span / candidate <= count) ?? STEPS.at(-1);
  const first = Math.ceil(view.from / step - 1e-6);
  const last = Math.floor((view.from + view.span) / step + 1e-6);
  const times = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => (first + i) * step);
  return { times, decimals: step >= 1 ? 0 : step >= 0.1 ? 1 : 2 };
}
