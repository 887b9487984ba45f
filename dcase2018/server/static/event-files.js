// Files of events, as `dcase2018 tag --detect-events` writes them. Times are in seconds.

const quoteCsv = (field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
const tsvField = (field) => field.split(/\s+/).filter(Boolean).join(" ");

const RAVEN_COLUMNS = [
  "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
  "Annotation", "Score", "Begin Path", "File Offset (s)",
];

function csvLines(events, fname) {
  const rows = events.map(({ onset, offset, label, score }) => [quoteCsv(fname), onset.toFixed(3), offset.toFixed(3), quoteCsv(label), score.toFixed(6)].join(","));
  return ["fname,onset,offset,label,score", ...rows];
}

const audacityLines = (events) => events.map(({ onset, offset, label }) => `${onset.toFixed(6)}\t${offset.toFixed(6)}\t${tsvField(label)}`);

function ravenLines(events, fname, [low, high]) {
  const rows = events.map(({ onset, offset, label, score }, i) => [
    i + 1, "Spectrogram 1", 1, onset.toFixed(6), offset.toFixed(6), low.toFixed(1), high.toFixed(1),
    tsvField(label), score.toFixed(4), tsvField(fname), onset.toFixed(6),
  ]);
  return [RAVEN_COLUMNS, ...rows].map((row) => row.join("\t"));
}

export const EVENT_FILES = {
  CSV: { suffix: ".csv", lines: csvLines },
  Audacity: { suffix: ".txt", lines: audacityLines },
  Raven: { suffix: ".selections.txt", lines: ravenLines },
};

// Returns the file of the events of a recording in a format. `freqRange` is in Hz.
export function eventFile(format, events, fname, freqRange) {
  const { suffix, lines } = EVENT_FILES[format];
  const content = lines(events, fname, freqRange).map((line) => `${line}\n`).join("");
  return new File([content], fname.replace(/\.[^.]*$/, "") + suffix, { type: "text/plain" });
}
