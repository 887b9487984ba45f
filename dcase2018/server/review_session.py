"""The clips under review, and the decisions of one reviewer."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcase2018.data.files import list_clips
from dcase2018.data.label_rules import parse_fraction
from dcase2018.data.labels import class_names, is_multi_label, read_clip_table, read_labels, verified_mask
from dcase2018.inference.ensemble import open_runs
from dcase2018.label_quality.review_decisions import (
    ACCEPT,
    KEEP,
    LABELLED,
    NO_CLASS,
    OTHER,
    SKIP,
    UNDO,
    Decision,
    valid_decisions,
)
from dcase2018.server.decision_log import DecisionLog
from dcase2018.server.protocol import RequestError
from dcase2018.utils.errors import Dcase2018Error, InputError, shorten_list

log = logging.getLogger(__name__)

N_EXAMPLES = 4  # verified clips per class: three to compare with a clip that may be the fourth


@dataclass(frozen=True)
class ReviewClip:
    """A clip under review.

    Attributes
    ----------
    fname, label
        The clip and its given label.
    proposal
        Class that the list of clips proposes instead; "" for none.
    reason, issue_probability
        Why the clip is listed, and the probability that its label is wrong; "" and None if unknown.
    """

    fname: str
    label: str
    proposal: str = ""
    reason: str = ""
    issue_probability: float | None = None

    @cached_property
    def id(self) -> str:
        """Identifier for addresses, which may not contain every file name."""
        return clip_id(self.fname)


def clip_id(fname: str) -> str:
    """Return the identifier of a clip: the same for the same name, whatever the list."""
    return hashlib.sha256(os.fsencode(fname)).hexdigest()[:20]


@dataclass(frozen=True)
class ReviewList:
    """What is reviewed.

    Attributes
    ----------
    source
        Name of the list of clips.
    classes
        The classes to choose from.
    clips
        The clips under review, in order.
    examples
        Identifiers of verified clips of each class.
    paths
        Audio file of each clip and example, by identifier.
    """

    source: str
    classes: list[str]
    clips: list[ReviewClip]
    examples: dict[str, list[str]]
    paths: dict[str, Path]


def open_review_list(labels_csv: Path, issues_csv: Path, run: Path, audio: Path) -> ReviewList:
    """Read and check the inputs of a review.

    Parameters
    ----------
    labels_csv
        The label file, with one label per clip. Its verified clips are the examples.
    issues_csv
        The clips to review: the output of `find-label-issues`, or any label file.
    run
        A run, or a folder of folds, with the classes of the label file.
    audio
        Folder of the clips.

    Raises
    ------
    InputError
        If a file is invalid, they do not belong together, or a clip is not in the folder.
    """
    labels = read_labels(labels_csv)
    if "issue_probability" in labels:
        raise InputError(f"{labels_csv} is a list of label issues; the order is LABELS ISSUES RUN")
    if is_multi_label(labels):
        raise InputError(f"{labels_csv}: clips with several labels are not supported; use a column label")
    classes = list(open_runs([run])[0].classes)
    if unknown := sorted(set(class_names(labels)) - set(classes)):
        raise InputError(
            f"{run} has no class {shorten_list(unknown)}, which {labels_csv} uses; choose its run"
        )
    clips = _read_clips(issues_csv, labels, labels_csv, classes)
    examples = _choose_examples(labels)
    fnames = dict.fromkeys(
        [*(clip.fname for clip in clips), *(name for names in examples.values() for name in names)]
    )
    paths = {clip_id(file.fname): file.path for file in list_clips(audio, list(fnames))}
    ids = {label: list(map(clip_id, names)) for label, names in examples.items()}
    return ReviewList(issues_csv.name, classes, clips, ids, paths)


def _read_clips(
    issues_csv: Path, labels: pd.DataFrame, labels_csv: Path, classes: Sequence[str]
) -> list[ReviewClip]:
    table = read_clip_table(issues_csv, ("fname",))
    given_labels = dict(zip(labels["fname"], labels["label"], strict=True))
    clips, n_other_labels = [], 0
    for line, row in table.iter_rows():
        fname, proposal = row["fname"], row.get("predicted_label", "")
        if row.get("usage") == "Ignored":
            continue
        if fname not in given_labels:
            table.errors.append((line, f"clip {fname!r} is not in {labels_csv}"))
            continue
        if proposal and proposal not in classes:
            table.errors.append((line, f"predicted_label {proposal!r} is not among the classes of the run"))
        label = given_labels[fname]
        n_other_labels += row.get("label", label) != label
        probability = parse_fraction(row.get("issue_probability", ""))
        clips.append(
            ReviewClip(fname, label, proposal * (proposal != label), row.get("reason", ""), probability)
        )
    table.raise_if_invalid()
    if not clips:
        raise InputError(f"{issues_csv} lists no clip; nothing is to be reviewed")
    if n_other_labels:
        log.warning(
            "%d clips have another label in %s than in %s, which counts",
            n_other_labels,
            issues_csv,
            labels_csv,
        )
    return clips


def _choose_examples(labels: pd.DataFrame) -> dict[str, list[str]]:
    """Choose verified clips of each class, evenly from the label file."""
    verified = labels[verified_mask(labels)]
    examples = {}
    for label, fnames in verified.groupby("label")["fname"]:
        chosen = np.linspace(0, len(fnames) - 1, min(N_EXAMPLES, len(fnames))).round().astype(int)
        examples[label] = fnames.iloc[chosen].tolist()
    return examples


class ReviewSession:
    """The decisions of one reviewer on a list of clips.

    Parameters
    ----------
    review_list
    decisions
        The open decisions file. Earlier decisions of the reviewer count.
    reviewer
        Name of the reviewer.
    """

    def __init__(self, review_list: ReviewList, decisions: DecisionLog, reviewer: str) -> None:
        self.list, self.log, self.reviewer = review_list, decisions, reviewer
        self.clips = {clip.id: clip for clip in review_list.clips}

    @property
    def n_decided(self) -> int:
        """Number of clips with a decision other than `skip`."""
        return sum(decision.decision != SKIP for decision in self._decisions().values())

    def state(self) -> dict[str, Any]:
        """Return all that the page needs except the clips' media."""
        decisions, revisions = self._decisions(), self._revisions()
        return {
            "source": self.list.source,
            "reviewer": self.reviewer,
            "output": str(self.log.path),
            "classes": self.list.classes,
            "examples": self.list.examples,
            "clips": [
                {
                    "id": clip.id, "fname": clip.fname, "label": clip.label, "proposal": clip.proposal,
                    "reason": clip.reason, "issue_probability": clip.issue_probability,
                    **_decision_state(decisions.get(clip.fname), revisions[clip.fname]),
                }
                for clip in self.list.clips
            ],
        }  # fmt: skip

    def decide(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Store a decision.

        Parameters
        ----------
        values
            `id` of the clip, `decision`, `label` (for `accept` and `other`), and the `revision` of the clip
            that the reviewer saw.

        Returns
        -------
        dict
            The new state of the clip: `id`, `revision` and `decision`.

        Raises
        ------
        RequestError
            400 if a value is invalid, 404 if the clip is not listed, 409 if the clip was decided since in
            another window or the file changed, 507 if the decision cannot be written.
        """
        clip = self.clips.get(str(values.get("id")))
        if clip is None:
            raise RequestError(404, "the clip is not in the list; reload the page")
        if values.get("revision") != self._revisions()[clip.fname]:
            raise RequestError(409, "the clip was decided in another window")
        decision = values.get("decision")
        if decision not in (*LABELLED, NO_CLASS, SKIP):
            raise RequestError(400, f"decision {decision!r} is not one of keep, accept, other, none, skip")
        label = {KEEP: clip.label, ACCEPT: values.get("label"), OTHER: values.get("label")}.get(decision, "")
        if decision in LABELLED and label not in self.list.classes:
            raise RequestError(400, f"label {label!r} is not among the {len(self.list.classes)} classes")
        return self._append(clip, decision, str(label))

    def undo(self) -> dict[str, Any]:
        """Withdraw the last decision on a listed clip; return the state of the clip.

        Raises
        ------
        RequestError
            409 if there is no decision; 507 if the row cannot be written.
        """
        decisions = [row for row in self._valid() if clip_id(row.fname) in self.clips]
        if not decisions:
            raise RequestError(409, "there is no decision to undo")
        return self._append(self.clips[clip_id(decisions[-1].fname)], UNDO, "")

    def _append(self, clip: ReviewClip, decision: str, label: str) -> dict[str, Any]:
        time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            self.log.append(Decision(clip.fname, decision, label, self.reviewer, time, self.list.source))
        except OSError as error:
            reason = error.strerror or error
            raise RequestError(507, f"the decision cannot be written to {self.log.path}: {reason}") from None
        except Dcase2018Error as error:
            raise RequestError(409, str(error)) from None
        return {
            "id": clip.id,
            **_decision_state(self._decisions().get(clip.fname), self._revisions()[clip.fname]),
        }

    def _valid(self) -> list[Decision]:
        return valid_decisions(row for row in self.log.rows if row.reviewer == self.reviewer)

    def _decisions(self) -> dict[str, Decision]:
        """The decision that counts for each clip."""
        return {row.fname: row for row in self._valid()}

    def _revisions(self) -> Counter[str]:
        """How often the reviewer decided on each clip."""
        return Counter(row.fname for row in self.log.rows if row.reviewer == self.reviewer)


def _decision_state(decision: Decision | None, revision: int) -> dict[str, Any]:
    values = decision and {"decision": decision.decision, "label": decision.label, "time": decision.time}
    return {"revision": revision, "decision": values}
