"""Decisions of reviewers: their file, undo, merging, and the labels they make."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from noisy_labels import make_noisy_labels, write_noisy_labels

from dcase2018.cli.label_quality import correct_labels
from dcase2018.data.labels import read_labels
from dcase2018.label_quality.review_decisions import (
    COLUMNS,
    Decision,
    apply_decisions,
    read_decisions,
    valid_decisions,
)
from dcase2018.utils.errors import InputError


def decide(fname: str, decision: str, label: str = "", reviewer: str = "anna") -> Decision:
    return Decision(fname, decision, label, reviewer, "2026-01-02T03:04:05Z", "issues.csv")


def make_labels(**columns: Sequence[str]) -> pd.DataFrame:
    values = {"fname": ["a", "b", "c", "d"], "label": ["Bark", "Bark", "Oboe", "Oboe"], **columns}
    return pd.DataFrame(values, dtype=object)


def write_decisions(path: Path, decisions: Sequence[Decision]) -> Path:
    pd.DataFrame(decisions, columns=COLUMNS).to_csv(path, index=False)
    return path


@given(st.lists(st.sampled_from([("a", "anna"), ("b", "anna"), ("a", "ben")]), max_size=12), st.data())
def test_undo_withdraws_the_last_decision_of_the_reviewer_on_the_clip(
    keys: list[tuple[str, str]], data: st.DataObject
) -> None:
    """The oracle keeps a stack per reviewer and clip."""
    stacks: dict[tuple[str, str], list[int]] = {}
    rows = []
    for number, (fname, reviewer) in enumerate(keys):
        is_undo = data.draw(st.booleans())
        rows.append(decide(fname, "undo" if is_undo else "other", "" if is_undo else f"L{number}", reviewer))
        stack = stacks.setdefault((fname, reviewer), [])
        if not is_undo:
            stack.append(number)
        elif stack:
            stack.pop()
    expected = sorted(number for stack in stacks.values() for number in stack)
    assert [row.label for row in valid_decisions(rows)] == [f"L{number}" for number in expected]


def test_decided_clips_are_verified_and_clips_of_no_class_left_out() -> None:
    rows = [
        decide("a", "keep", "Bark"), decide("b", "accept", "Cough"), decide("c", "none"), decide("d", "skip"),
    ]  # fmt: skip
    labels = make_labels(manually_verified=list("0000"), weight=["0.5"] * 4, license=list("wxyz"))
    reviewed = apply_decisions(labels, [rows])
    assert reviewed.labels.to_numpy().tolist() == [
        ["a", "Bark", "1", "1", "w"],
        ["b", "Cough", "1", "1", "x"],
        ["d", "Oboe", "0", "0.5", "z"],
    ]
    assert reviewed.labels.columns.tolist() == labels.columns.tolist()
    assert reviewed.changes.to_numpy().tolist() == [["b", "Bark", "Cough", "anna"], ["c", "Oboe", "", "anna"]]
    assert (reviewed.n_verified, reviewed.disagreements, reviewed.unknown) == (2, {}, [])
    assert labels["label"].tolist() == ["Bark", "Bark", "Oboe", "Oboe"]


def test_later_decision_replaces_an_earlier_one() -> None:
    rows = [decide("a", "none"), decide("a", "other", "Oboe"), decide("b", "none"), decide("b", "undo")]
    reviewed = apply_decisions(make_labels(), [rows])
    assert reviewed.labels["label"].tolist() == ["Oboe", "Bark", "Oboe", "Oboe"]
    assert reviewed.labels["manually_verified"].tolist() == ["1", "0", "0", "0"]  # a new column


def test_reviewers_merge_and_disagreements_stay_as_they_were() -> None:
    anna = [
        decide("a", "accept", "Oboe"),
        decide("b", "keep", "Bark"),
        decide("c", "none"),
        decide("x", "none"),
    ]
    ben = [
        decide(*values, reviewer="ben") for values in (("a", "other", "Oboe"), ("b", "none"), ("d", "skip"))
    ]
    labels = make_labels(manually_verified=list("0000"))
    for files in ([anna, ben], [[*anna, *ben]]):
        reviewed = apply_decisions(labels, files)
        assert reviewed.disagreements == {"b": "anna: Bark, ben: none"}
        assert reviewed.unknown == ["x"]
        assert reviewed.labels[["fname", "label", "manually_verified"]].to_numpy().tolist() == [
            ["a", "Oboe", "1"], ["b", "Bark", "0"], ["d", "Oboe", "0"],
        ]  # fmt: skip
        assert reviewed.changes["source"].tolist() == ["anna, ben", "anna"]
    same_reviewer = [[decide("a", "keep", "Bark")], [decide("a", "none")]]
    assert apply_decisions(labels, same_reviewer).disagreements == {"a": "anna: Bark, anna (file 2): none"}


def test_decisions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="no decided clip is in the label file, such as 'x'"):
        apply_decisions(make_labels(), [[decide("x", "none")]])
    with pytest.raises(InputError, match="no clip is left"):
        apply_decisions(make_labels(), [[decide(fname, "none") for fname in "abcd"]])
    with pytest.raises(InputError, match="clips with several labels are not supported"):
        apply_decisions(make_labels().rename(columns={"label": "labels"}), [[decide("a", "none")]])


def test_invalid_rows_are_reported_with_their_lines(tmp_path: Path) -> None:
    rows = [
        decide("a", "keep", "Bark"), decide("b", "maybe"), decide("c", "other"), decide("d", "none", "Bark"),
    ]  # fmt: skip
    with pytest.raises(InputError) as raised:
        read_decisions(write_decisions(tmp_path / "decisions.csv", rows))
    assert str(raised.value).split(": ", 1)[1].splitlines() == [
        "3 errors:",
        "  line 3: decision 'maybe' is not one of keep, accept, other, none, skip, undo",
        "  line 4: label is empty",
        "  line 5: label 'Bark' is not empty, but the decision is none",
    ]
    (tmp_path / "train.csv").write_text("fname,label\na,Bark\n")
    with pytest.raises(InputError, match="is not a file of decisions; dcase2018 review writes one"):
        read_decisions(tmp_path / "train.csv")


def run_correct_labels(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(correct_labels, list(map(str, args)))
    assert result.exit_code == code, result.output
    return result.output


def test_command_applies_decisions_with_and_without_predictions(tmp_path: Path) -> None:
    labels, scores, _ = make_noisy_labels(100)
    write_noisy_labels(tmp_path, labels, scores)
    unverified = labels["fname"][labels["manually_verified"] == "0"].tolist()
    rows = [
        decide(unverified[0], "none"),
        decide(unverified[1], "other", "Oboe"),
        decide(unverified[2], "none"),
    ]
    first = write_decisions(tmp_path / "anna.csv", rows)
    second = write_decisions(tmp_path / "ben.csv", [decide(unverified[2], "keep", "Bark", "ben")])
    out = tmp_path / "new.csv"
    inputs = (tmp_path / "train.csv", "--decisions", first, "--decisions", second, "-o", out)
    assert run_correct_labels(*inputs) == (
        f"{unverified[2]}: reviewers disagree (anna: none, ben: Bark); their decisions are ignored\n"
        f"{out}: 1 clips verified, 1 of them with a new label; 1 clips left out; 1 disagreements\n"
    )
    new_labels = read_labels(out).set_index("fname")
    assert "weight" not in new_labels
    assert new_labels.loc[unverified[1], "label"] == "Oboe"
    assert unverified[0] not in new_labels.index
    assert run_correct_labels(*inputs, tmp_path / "out_of_fold.csv").count("\n") == 3
    changes = pd.read_csv(tmp_path / "new.changes.csv", keep_default_na=False)
    assert changes["source"].tolist()[:3] == ["anna", "anna", "predictions"]
    new_labels = read_labels(out).set_index("fname")
    assert new_labels.loc[unverified[1], ["label", "weight"]].tolist() == ["Oboe", "1.0000"]
    assert len(new_labels) == 99


def test_command_needs_predictions_or_decisions(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("fname,label\na,Bark\n")
    message = run_correct_labels(tmp_path / "train.csv", "-o", tmp_path / "new.csv", code=2)
    assert "Give OUT_OF_FOLD, --decisions, or both." in message
