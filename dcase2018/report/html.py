"""The page: a report's numbers as HTML, with styles and scripts inside it.

All that it shows is in `report.json`, which it is rendered from, but for the charts. It asks for nothing but
the pictures and excerpts beside it.
"""

import base64
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

MOST_IN_MATRIX = 64  # classes: a larger matrix cannot be looked at
MOST_PAIRS = 12  # confusions that are listed


def score(value: float | None) -> str:
    """A score as the page writes it, with four digits."""
    return "-" if value is None else f"{value:.4f}"


def clips(count: int) -> str:
    """A number of clips in words."""
    return "1 clip" if count == 1 else f"{count} clips"


LOADER = jinja2.PackageLoader("dcase2018.report")
TEMPLATES = jinja2.Environment(
    loader=LOADER, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
TEMPLATES.filters |= {"score": score, "clips": clips}


def render(report: Mapping[str, Any], charts: Sequence[Mapping[str, Any]]) -> str:
    """Lay a report out.

    Parameters
    ----------
    report
        What `report.json` holds.
    charts
        For each side its charts as SVG: `reliability`, and `curves`, several.
    """
    script = _source("page.js")
    return TEMPLATES.get_template("report.html").render(
        report=report,
        sides=[SideView(report["classes"], *side) for side in zip(report["sides"], charts, strict=True)],
        style=_source("page.css"),
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _source(name: str) -> str:
    """A file that goes into the page as it is."""
    return LOADER.get_source(TEMPLATES, name)[0]


class SideView:
    """A side of `report.json` as the templates ask for it; its own keys are attributes."""

    labels: Sequence[Sequence[str]]
    class_of_clip: Sequence[int]

    def __init__(self, names: Sequence[str], side: Mapping[str, Any], charts: Mapping[str, Any]) -> None:
        self.__dict__.update(side)
        self.names, self.charts, self.grid = names, charts, side["confusion"]
        self.several = "mAP" in side["overall"]
        self.clip = {clip["number"]: clip for clip in side["clips"]}
        self.media = {clip["number"]: clip for clip in side["shown"]}
        numbered = [row | {"number": number} for number, row in enumerate(side["classes"])]
        self.classes_in_order = sorted(numbered, key=lambda row: (row["MAP@3"] is None, row["MAP@3"]))
        self.row_sums = [sum(row) for row in self.grid]
        self.cells_by_place = defaultdict(list)
        for row, column, number in side["cells"]:
            self.cells_by_place[row, column].append(number)
        wrong = [place for place in self.cells_by_place if place[0] != place[1]]
        self.pairs = sorted(wrong, key=lambda place: -len(self.cells_by_place[place]))[:MOST_PAIRS]
        self.has_matrix = len(names) <= MOST_IN_MATRIX
        self.listed = list(self.cells_by_place) if self.has_matrix else self.pairs
        self.of_class = defaultdict(list)
        for number in self.media:
            self.of_class[names[side["class_of_clip"][number - 1]]].append(number)
        for shown in self.of_class.values():
            shown.sort(key=lambda number: self.clip[number]["margin"])

    def cell_title(self, row: int, column: int) -> str:
        """What a cell of the matrix says."""
        count = clips(self.grid[row][column])
        if row == column:
            return f"{self.names[row]}, right: {count}"
        return f"{self.names[row]} taken for {self.names[column]}: {count}"

    def labels_of(self, number: int) -> Sequence[str]:
        """Labels of a clip."""
        return self.labels[number - 1]

    def notes(self, number: int) -> Sequence[str]:
        """What stands under the name of a clip."""
        clip, seconds = self.clip[number], self.media[number]["seconds"]
        notes = [clip["shown"], clip.get("usage", ""), f"{seconds:.1f} s"]
        if "verified" in clip:
            notes.append("verified" if clip["verified"] else "not verified")
        if self.several:
            notes.append("labels: " + ", ".join(self.labels_of(number)))
        return [note for note in notes if note]

    def hardest_label(self, number: int) -> str:
        """The class that a clip stands in."""
        return self.names[self.class_of_clip[number - 1]]

    def origin_of(self, run: Mapping[str, Any]) -> dict[str, object]:
        """What a run was made by and from."""
        facts = {
            name: run[name]
            for name in ("seed", "training_fingerprint", "validation_fingerprint", "pretrained_fingerprint")
        }
        for name, value in run["provenance"].items():  # which is for people, and may be anything
            several = isinstance(value, dict)
            facts[name] = ", ".join(f"{key} {value[key]}" for key in value) if several else value
        return {name.replace("_", " "): value for name, value in facts.items() if value not in (None, "")}
