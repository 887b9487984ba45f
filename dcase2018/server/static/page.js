// The page: a sound comes in, is shown, played, and told what it is.

import { best, clock, eventRows, lane, make, moment, outline, ticks } from "./drawing.js";
import { LONGEST_SECONDS, Recording } from "./recording.js";
import { hear, Problem } from "./sending.js";

const at = (id) => document.getElementById(id);
const player = at("player");

let runs = [];
let limits = {};
let seconds = 0; // of the sound that is shown
let work = null; // an AbortController, while a sound is sent and heard
let recording = null;

// ---- What is served

async function introduce() {
  ({ runs, limits } = await (await fetch("/api/runs")).json());
  const names = runs.map((run) => run.name);
  document.title = `${names.join(" and ")}: dcase2018`;
  at("title").textContent = names.join(" and ");
  const classes = [...new Set(runs.flatMap((run) => run.classes))];
  at("known").hidden = false;
  at("known").querySelector("summary").textContent = `tells ${classes.length} classes of sounds apart`;
  at("known").querySelector("ul").replaceChildren(...classes.map((label) => make("li", { text: label })));
  at("limits").textContent = `WAV, FLAC, Ogg, MP3 or AIFF, up to ${size(limits.bytes)} and ${limits.seconds / 3600} hours`;
  at("api").textContent = `curl --data-binary @sound.wav ${location.origin}/api/tag`;
}

const size = (bytes) => (bytes >= 1e9 ? `${bytes / 1e9} GB` : `${Math.round(bytes / 1e6)} MB`);

// ---- A sound comes

async function take(file, recorded = false) {
  await known;
  work?.abort();
  complain("");
  if (file.size > limits.bytes) return complain(`${file.name} is too large: ${size(file.size)}; up to ${size(limits.bytes)} are taken here`);
  const mine = (work = new AbortController());
  const started = performance.now();
  show(file, recorded);
  busy("Sending ...", 0);
  try {
    await hear(file, {
      sent: (share) => busy(share < 1 ? "Sending ..." : "Listening ...", share < 1 ? share : null),
      line: (said) => mine === work && tell(said),
      signal: mine.signal,
    });
    say(`Heard in ${((performance.now() - started) / 1000).toFixed(1)} s. ${answers()}`);
  } catch (error) {
    say("");
    complain(error instanceof Problem ? `${file.name}: ${error.message}` : `${error}`);
  }
  if (mine === work) work = null;
}

function show(file, recorded) {
  URL.revokeObjectURL(player.src);
  const address = URL.createObjectURL(file);
  player.src = address;
  at("unplayable").hidden = true;
  at("save").href = address;
  at("save").hidden = !recorded;
  at("name").textContent = file.name;
  at("sound").hidden = true;
  at("taggers").replaceChildren(...runs.map(blank));
  moveTo(0);
}

function blank(run) {
  const article = at("tagger").content.cloneNode(true).firstElementChild;
  article.querySelector("h3").textContent = run.name;
  article.querySelector("h3").classList.toggle("hidden", runs.length === 1); // the heading of the page says it
  article.classList.add("waiting");
  return article;
}

function tell(said) {
  if (said.progress !== undefined) busy("Listening ...", said.progress);
  if (said.overview) showOverview(said.overview);
  const article = at("taggers").children[said.run];
  if (said.scores) {
    article.classList.remove("waiting");
    article.querySelector(".best").replaceChildren(...best(said.scores, 3));
  }
  if (said.lanes) showOverTime(article, said);
}

function showOverview(overview) {
  seconds = overview.seconds;
  at("sound").hidden = false;
  at("length").textContent = moment(seconds);
  at("outline").firstElementChild.setAttribute("d", outline(overview.peaks));
  at("mels").src = overview.picture;
  at("ticks").replaceChildren(...ticks(overview.ticks));
  at("times").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((share) => make("span", { text: (seconds < 10 ? moment : clock)(share * seconds) })));
  at("view").setAttribute("aria-valuemax", seconds.toFixed(1));
  moveTo(0);
}

function showOverTime(article, { edges, lanes, events, more_events: more, threshold }) {
  article.querySelector(".lanes").replaceChildren(...lanes.map((of) => lane(of, edges, events, seconds)));
  article.querySelector("tbody").replaceChildren(...eventRows(events, play));
  article.querySelector("table").hidden = !events.length;
  article.querySelector(".none").hidden = events.length > 0;
  article.querySelector(".none").textContent = `No class reaches a score of ${threshold}.`;
  article.querySelector(".more").hidden = !more;
  article.querySelector(".more").textContent = `and ${more} more`;
}

const answers = () =>
  runs
    .map(({ name }, i) => [name, at("taggers").children[i].querySelector("li")])
    .map(([name, first]) => `${name}: ${first.querySelector(".label").textContent}, ${first.querySelector("data").textContent}.`)
    .join(" ");

// ---- What is going on. It is read aloud when the words change, not when the bar moves.

function busy(words, share) {
  if (at("status").textContent !== words) at("status").textContent = words;
  at("progress").hidden = at("cancel").hidden = false;
  if (share === null) at("progress").removeAttribute("value");
  else at("progress").value = share;
}

function say(words) {
  at("status").textContent = words;
  at("progress").hidden = at("cancel").hidden = true;
}

function complain(words) {
  at("problem").textContent = words;
}

function cancel() {
  work?.abort();
  work = null;
  say("");
}

// ---- Playing

const time = () => (at("unplayable").hidden ? player.currentTime : Number(at("view").getAttribute("aria-valuenow")));

function moveTo(moved) {
  const now = Math.max(0, Math.min(seconds, moved));
  document.documentElement.style.setProperty("--at", seconds ? now / seconds : 0);
  at("view").setAttribute("aria-valuenow", now.toFixed(2));
  at("view").setAttribute("aria-valuetext", `${moment(now)} of ${moment(seconds)}`);
}

function seek(wanted) {
  const to = Math.max(0, Math.min(seconds, wanted));
  if (at("unplayable").hidden) player.currentTime = to;
  moveTo(to);
}

function play(from) {
  seek(from);
  player.play().catch(() => {}); // what cannot be played is told by its error
}

function follow() {
  moveTo(player.currentTime);
  if (!player.paused) requestAnimationFrame(follow);
}

function seekByPointer(event) {
  const track = event.target.closest(".track");
  if (!track || (event.type === "pointermove" && !event.buttons)) return;
  const { left, width } = track.getBoundingClientRect();
  seek(((event.clientX - left) / width) * seconds);
}

const KEYS = {
  ArrowLeft: () => seek(time() - step()),
  ArrowDown: () => seek(time() - step()),
  ArrowRight: () => seek(time() + step()),
  ArrowUp: () => seek(time() + step()),
  PageDown: () => seek(time() - 10 * step()),
  PageUp: () => seek(time() + 10 * step()),
  Home: () => seek(0),
  End: () => seek(seconds),
  " ": () => (player.paused ? play(time()) : player.pause()),
};
const step = () => Math.max(0.05, seconds / 100);

// ---- The microphone

async function record() {
  if (recording) return stopRecording();
  cancel();
  complain("");
  try {
    recording = await Recording.start((soFar, level) => {
      at("record").textContent = `Stop (${clock(soFar)})`;
      at("level").style.setProperty("--level", level);
      if (soFar >= LONGEST_SECONDS) stopRecording();
    });
  } catch (error) {
    return complain(`There is no microphone to record from: ${error.message}`);
  }
  at("record").textContent = "Stop (0:00)";
  document.body.classList.add("recording");
  at("level").hidden = false;
  say("Recording ...");
}

async function stopRecording() {
  if (!recording) return;
  const stopping = recording.stop();
  recording = null;
  at("record").textContent = "Record";
  document.body.classList.remove("recording");
  at("level").hidden = true;
  await take(await stopping, true);
}

// ---- What is pressed, dropped and played

at("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files[0]);
  target.value = ""; // the same file may be chosen again
});
at("record").addEventListener("click", record);
at("cancel").addEventListener("click", cancel);

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
});

player.addEventListener("play", follow);
player.addEventListener("timeupdate", () => moveTo(player.currentTime));
player.addEventListener("error", () => (at("unplayable").hidden = !player.getAttribute("src")));
at("sound").addEventListener("pointerdown", seekByPointer);
at("sound").addEventListener("pointermove", seekByPointer);
at("view").addEventListener("keydown", (event) => {
  if (!KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});

const known = introduce();
known.catch(() => complain("the server cannot be reached"));
