// How many clips are decided, how fast, and how long the rest will take.

const MAX_PAUSE_SECONDS = 300; // a longer gap between two decisions is a break
const N_RECENT = 20;

export function formatPace(clips) {
  const done = clips.filter((clip) => clip.decision);
  const skipped = done.filter(({ decision }) => decision.decision === "skip").length;
  const decided = done.length - skipped;
  const parts = [`${decided} of ${clips.length} decided`];
  if (skipped) parts[0] += `, ${skipped} skipped`;
  const seconds = secondsPerClip(done);
  if (!seconds) return parts[0];
  parts.push(`${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s per clip`);
  const left = (clips.length - done.length) * seconds;
  if (left) parts.push(`about ${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left`);
  return parts.join(" · ");
}

// The mean of the last gaps between decisions; 0 without one.
function secondsPerClip(done) {
  const times = done.map((clip) => Date.parse(clip.decision.time) / 1000);
  times.sort((a, b) => a - b);
  const gaps = times.slice(1).map((time, i) => time - times[i]).filter((gap) => gap <= MAX_PAUSE_SECONDS).slice(-N_RECENT);
  return gaps.length ? gaps.reduce((sum, gap) => sum + gap, 0) / gaps.length : 0;
}
