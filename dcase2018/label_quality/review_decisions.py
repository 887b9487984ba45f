"""Decisions of people who reviewed labels: their file, the merging of several reviewers, and the new labels.

A decisions file is a CSV with one row per decision, in order of time. Rows are only appended. A row `undo`
withdraws the last decision of its reviewer on its clip. A later decision on a clip replaces an earlier one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dcase2018.data.csv_tables import read_table
from dcase2018.data.label_rules import validate_label
from dcase2018.data.labels import WEIGHT_COLUMN, is_multi_label
from dcase2018.utils.errors import InputError

COLUMNS = ["fname", "decision", "label", "reviewer", "time", "source"]

KEEP, ACCEPT, OTHER, NO_CLASS, SKIP, UNDO = "keep", "accept", "other", "none", "skip", "undo"
LABELLED = (KEEP, ACCEPT, OTHER)  # decisions that give the clip a label
WITHOUT_LABEL = (NO_CLASS, SKIP, UNDO)


@dataclass(frozen=True)
class Decision:
    """A row of a decisions file.

    Attributes
    ----------
    fname
        The clip.
    decision
        `keep`, `accept` (the proposed class), `other` (another class), `none` (of the classes), `skip` or
        `undo`.
    label
        Label of the clip after the decision; "" for `none`, `skip` and `undo`.
    reviewer, time, source
        Who decided, when (ISO 8601, UTC), and the file that listed the clip.
    """

    fname: str
    decision: str
    label: str
    reviewer: str
    time: str
    source: str

    @property
    def errors(self) -> list[str]:
        """What is invalid."""
        if self.decision in LABELLED:
            return list(validate_label(self.label))
        if self.decision not in WITHOUT_LABEL:
            return [f"decision {self.decision!r} is not one of {', '.join(LABELLED + WITHOUT_LABEL)}"]
        return [f"label {self.label!r} is not empty, but the decision is {self.decision}"] * bool(self.label)


def read_decisions(path: Path) -> list[Decision]:
    """Read a decisions file.

    Raises
    ------
    InputError
        If the file is invalid. The message lists all errors with line numbers.
    OSError
        If the file cannot be read.
    """
    table = read_table(path)
    if table.header != COLUMNS:
        raise InputError(f"{path} is not a file of decisions; dcase2018 review writes one")
    decisions = []
    for line, fields in table.rows:
        decisions.append(Decision(*fields))
        table.errors += [(line, error) for error in decisions[-1].errors]
    table.raise_if_invalid()
    return decisions


def valid_decisions(decisions: Iterable[Decision]) -> list[Decision]:
    """Return the decisions that no `undo` withdrew, in order of time."""
    valid: list[Decision] = []
    for decision in decisions:
        if decision.decision != UNDO:
            valid.append(decision)
            continue
        key = decision.reviewer, decision.fname
        for index in reversed(range(len(valid))):
            if (valid[index].reviewer, valid[index].fname) == key:
                del valid[index]
                break
    return valid


@dataclass(frozen=True)
class ReviewedLabels:
    """Labels after a review.

    Attributes
    ----------
    labels : DataFrame
        The label file: decided clips have their decided label and `manually_verified` 1, clips of none of
        the classes are left out.
    changes : DataFrame
        One row per clip whose label changed or that was left out: `fname`, the given `label`, `new_label`
        ("" if left out), and the reviewers as `source`.
    n_verified : int
        Number of decided clips in `labels`.
    disagreements : dict
        For each clip on which reviewers disagree, a description of their decisions. Its row is unchanged.
    unknown : list of str
        Decided clips that the label file does not list.
    """

    labels: pd.DataFrame
    changes: pd.DataFrame
    n_verified: int
    disagreements: dict[str, str]
    unknown: list[str]


def apply_decisions(labels: pd.DataFrame, decisions: Sequence[Sequence[Decision]]) -> ReviewedLabels:
    """Apply the decisions of one or more reviewers to a label file.

    Parameters
    ----------
    labels : DataFrame
        One row per clip, with one label each (see `read_labels`).
    decisions : list of list of Decision
        The rows of each decisions file.

    Raises
    ------
    InputError
        If clips have several labels, the label file lists no decided clip, or every clip is left out.
    """
    if is_multi_label(labels):
        raise InputError("clips with several labels are not supported; use a column label, one per clip")
    votes = _votes(decisions)
    listed = set(labels["fname"])
    if votes and listed.isdisjoint(votes):
        raise InputError(f"no decided clip is in the label file, such as {next(iter(votes))!r}")
    agreed = {
        fname: (min(by_reviewer.values()), ", ".join(by_reviewer))
        for fname, by_reviewer in votes.items()
        if len(set(by_reviewer.values())) == 1
    }
    new_labels, changes = _relabel(labels, agreed)
    if new_labels.empty:
        raise InputError("every clip was reviewed as none of the classes; no clip is left")
    return ReviewedLabels(
        new_labels,
        changes,
        int(new_labels["fname"].isin(agreed).sum()),
        {
            fname: ", ".join(f"{reviewer}: {label or NO_CLASS}" for reviewer, label in by_reviewer.items())
            for fname, by_reviewer in votes.items()
            if fname in listed and fname not in agreed
        },
        [fname for fname in votes if fname not in listed],
    )


def _votes(decisions: Sequence[Sequence[Decision]]) -> dict[str, dict[str, str]]:
    """Return for each decided clip the label of each reviewer; "" is none of the classes.

    A reviewer with decisions in several files counts once per file.
    """
    votes: dict[str, dict[str, str]] = {}
    for file_number, rows in enumerate(decisions, 1):
        last = {(row.fname, row.reviewer): row for row in valid_decisions(rows)}
        for (fname, reviewer), row in last.items():
            if row.decision != SKIP:
                by_reviewer = votes.setdefault(fname, {})
                name = f"{reviewer} (file {file_number})" if reviewer in by_reviewer else reviewer
                by_reviewer[name] = row.label
    return votes


def _relabel(
    labels: pd.DataFrame, agreed: Mapping[str, tuple[str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Apply a label and the names of its reviewers to each clip; return the new labels and the changes."""
    is_decided = labels["fname"].isin(agreed)
    decided = [agreed.get(fname, (label, "")) for fname, label in labels[["fname", "label"]].to_numpy(object)]
    new_labels = pd.Series([label for label, _ in decided], labels.index, dtype=object)
    changes = labels[["fname", "label"]].assign(new_label=new_labels, source=[names for _, names in decided])
    columns = {"label": new_labels}
    if WEIGHT_COLUMN in labels:
        columns[WEIGHT_COLUMN] = labels[WEIGHT_COLUMN].mask(is_decided, "1")
    given_marks = labels.get("manually_verified", "0")
    columns["manually_verified"] = pd.Series(given_marks, labels.index, dtype=object).mask(is_decided, "1")
    is_kept = new_labels != ""
    return labels.assign(**columns)[is_kept].reset_index(drop=True), changes[new_labels != labels["label"]]
