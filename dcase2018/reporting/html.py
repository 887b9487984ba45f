"""The HTML page of a report, rendered from report.json and the charts, with its styles and script inline."""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import jinja2

from dcase2018.evaluation.evaluate import ALL, OVERALL, PART_HEADINGS
from dcase2018.reporting.summary import MAX_MATRIX_CLASSES

MAX_PHONE_CLASSES = 10  # classes of the smallest matrix, which fits on a phone
MOST_CONFUSED, CONFUSED, NEVER_CONFUSED = 0, 1, 2  # levels of classes in the reduced matrices
MAX_CONFUSIONS = 12  # in the list of the most frequent ones


MIME_TYPES = {
    ".webp": "image/webp", ".ogg": "audio/ogg", ".json": "application/json", ".csv": "text/csv",
    ".svg": "image/svg+xml", ".png": "image/png",
}  # fmt: skip


def format_score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def count_clips(count: int) -> str:
    """Write a number of clips, as `1 clip` or `2 clips`."""
    return "1 clip" if count == 1 else f"{count} clips"


LOADER = jinja2.PackageLoader("dcase2018.reporting")
TEMPLATES = jinja2.Environment(
    loader=LOADER, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
TEMPLATES.filters |= {"score": format_score, "count_clips": count_clips}


def render(
    report: Mapping[str, Any], charts: Sequence[Mapping[str, Any]], inline_from: Path | None = None
) -> str:
    """Render the page of a report.

    Parameters
    ----------
    report : dict
        The content of report.json (see `report_data`).
    charts : sequence of dict
        Charts of each system as SVG: `reliability`, and `curves`, a list.
    inline_from : Path, optional
        Folder of the files of the report, to put them into the page.

    Returns
    -------
    str
        HTML that loads nothing but the spectrograms and excerpts beside it, or with `inline_from` nothing.
    """
    script = _read_source("page.js")
    return TEMPLATES.get_template("report.html").render(
        report=report,
        asset=partial(_data_uri, inline_from) if inline_from else str,
        difference_width=difference_width(report["comparison"]),
        systems=[
            SystemView(report["classes"], *system) for system in zip(report["systems"], charts, strict=True)
        ],
        style=_read_source("page.css"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _data_uri(folder: Path, name: str) -> str:
    """Encode a file of the report for a page that has it inline."""
    content = base64.b64encode((folder / name).read_bytes()).decode()
    return f"data:{MIME_TYPES[Path(name).suffix]};base64,{content}"


def difference_width(comparison: Mapping[str, Any] | None) -> float:
    """Return the width of the axis of differences, symmetric around 0, that holds all intervals."""
    rows = [comparison, *comparison["parts"].values()] if comparison else []
    largest = max((abs(bound) for row in rows for bound in row["interval"]), default=0)
    return 2 * max(1.1 * largest, 0.01)


def _read_source(name: str) -> str:
    return LOADER.get_source(TEMPLATES, name)[0]


class SystemView:
    """A system of report.json, arranged for the templates. The keys of its object are attributes too."""

    scores: Sequence[Mapping[str, Any]]
    folds: Sequence[Mapping[str, float]]
    confusion: Sequence[Sequence[int]]
    confusion_cells: Sequence[tuple[int, int, int]]
    labels: Sequence[Sequence[str]]
    lowest_scored_labels: Sequence[int]
    runs: Sequence[Mapping[str, Any]]

    def __init__(self, classes: Sequence[str], system: Mapping[str, Any], charts: Mapping[str, Any]) -> None:
        self.__dict__.update(system)
        self.class_names, self.charts = classes, charts
        self.is_multi_label = "lwlrap" in self.scores[0]
        self.overall = {row["part"]: row for row in self.scores if row["label"] == OVERALL}
        of_class = [row for row in self.scores if row["part"] == ALL and row["label"] != OVERALL]
        indexed = [dict(row) | {"index": index} for index, row in enumerate(of_class)]
        self.class_rows = sorted(indexed, key=lambda row: (row["map3"] is None, row["map3"]))
        self.clips_by_number = {clip["clip_number"]: clip for clip in system["clips"]}
        self.media_by_number = {media["clip_number"]: media for media in system["media"]}
        self.shown_numbers = [
            number for number in self.media_by_number if self.clips_by_number[number]["shown_as"]
        ]
        self.number_of_fname = {clip["fname"]: clip["clip_number"] for clip in system["clips"]}
        self.n_training_clips = self.overall[ALL].get("n_training_clips", 0)
        self._arrange_confusions()
        self.shown_by_class: dict[str, list[int]] = defaultdict(list)
        for number in self.shown_numbers:
            self.shown_by_class[self.lowest_scored_label(number)].append(number)
        for shown in self.shown_by_class.values():
            shown.sort(key=lambda number: self.clips_by_number[number]["margin"])

    @property
    def has_validation(self) -> bool:
        return any("validation_loss" in row for run in self.runs for row in run["history"])

    @property
    def finetune_start(self) -> int | None:
        """First epoch of the fine-tuning phase of the first run; None without."""
        return self.runs[0]["finetune_start"]

    @property
    def loss_contents(self) -> Sequence[str]:
        """What the training loss of the first run contains besides the labels."""
        hparams = self.runs[0]["hparams"]
        contents = {
            f"label smoothing ({hparams['label_smoothing']:g})": hparams["label_smoothing"],
            f"mixup (alpha {hparams['mixup_alpha']:g})": hparams["mixup_alpha"],
        }
        return [text for text, value in contents.items() if value]

    def _arrange_confusions(self) -> None:
        self.clips_of_cell: dict[tuple[int, int], list[int]] = defaultdict(list)
        for row, column, number in self.confusion_cells:
            self.clips_of_cell[row, column].append(number)
        errors = [cell for cell in self.clips_of_cell if cell[0] != cell[1]]
        by_frequency = sorted(errors, key=lambda cell: -len(self.clips_of_cell[cell]))
        self.top_confusions = by_frequency[:MAX_CONFUSIONS]
        self.has_matrix = len(self.class_names) <= MAX_MATRIX_CLASSES
        self.shown_cells = list(self.clips_of_cell) if self.has_matrix else self.top_confusions
        self.class_levels = self._class_levels(by_frequency)
        self.n_most_confused = self.class_levels.count(MOST_CONFUSED)
        self.n_confused = len(self.class_names) - self.class_levels.count(NEVER_CONFUSED)
        self.row_sums = [sum(row) for row in self.confusion]

    def _class_levels(self, by_frequency: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Level of each class in the reduced matrices: the smaller, the more it is confused."""
        confused = list(dict.fromkeys(index for cell in by_frequency for index in cell))
        most = set(confused[:MAX_PHONE_CLASSES])
        return [
            MOST_CONFUSED if index in most else CONFUSED if index in confused else NEVER_CONFUSED
            for index in range(len(self.class_names))
        ]

    def percent(self, row: int, column: int) -> int:
        """Percentage of a row of the confusion matrix that is in a cell."""
        return round(100 * self.confusion[row][column] / self.row_sums[row])

    def cell_title(self, row: int, column: int) -> str:
        """Describe a cell of the confusion matrix."""
        count = count_clips(self.confusion[row][column])
        if row == column:
            return f"{self.class_names[row]}, correct: {count}"
        return f"{self.class_names[row]} predicted as {self.class_names[column]}: {count}"

    def fold_metrics(self) -> Mapping[str, str]:
        """Headings of the metrics in the table of folds."""
        return {name: PART_HEADINGS[name] for name in self.folds[0] if name not in ("fold", "n_clips")}

    def fold_means(self) -> Sequence[str]:
        """Mean and standard deviation of each metric over the folds; empty for one fold."""
        if len(self.folds) < 2:
            return []
        values = {
            heading: [fold[name] for fold in self.folds] for name, heading in self.fold_metrics().items()
        }
        return [f"{heading} {mean(scores):.3f} ± {stdev(scores):.3f}" for heading, scores in values.items()]

    def labels_of(self, clip_number: int) -> Sequence[str]:
        return self.labels[clip_number - 1]

    def lowest_scored_label(self, clip_number: int) -> str:
        """Class that a clip is grouped under."""
        return self.class_names[self.lowest_scored_labels[clip_number - 1]]

    def notes(self, clip_number: int) -> Sequence[str]:
        """Notes below the name of a clip."""
        clip, media = self.clips_by_number[clip_number], self.media_by_number[clip_number]
        notes = [clip["shown_as"], clip.get("usage", ""), f"{media['seconds']:.1f} s"]
        notes.append("silent" if media["is_silent"] else "")
        if "verified" in clip:
            notes.append("verified" if clip["verified"] else "not verified")
        if self.is_multi_label:
            notes.append("labels: " + ", ".join(self.labels_of(clip_number)))
        return [note for note in notes if note]

    def provenance_of(self, run: Mapping[str, Any]) -> dict[str, object]:
        """Seed, fingerprints and provenance of a run, by their titles."""
        facts = {
            name: run[name]
            for name in ("seed", "training_fingerprint", "validation_fingerprint", "pretrained_fingerprint")
        }
        for name, value in run["provenance"].items():  # free-form
            is_dict = isinstance(value, dict)
            facts[name] = ", ".join(f"{key} {value[key]}" for key in value) if is_dict else value
        return {name.replace("_", " "): value for name, value in facts.items() if value not in (None, "")}
