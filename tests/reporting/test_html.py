"""The page, rendered from numbers alone: few and many classes, one clip and many."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble, EnsembleMember
from dcase2018.reporting.charts import learning_curves, reliability_diagram
from dcase2018.reporting.html import SystemView, render
from dcase2018.reporting.summary import SystemResult, report_data
from dcase2018.runs.run import Run

NO_RUNS = cast(Ensemble, SimpleNamespace(members=[], checkpoint=0))


def draw_labels(n_classes: int, n_clips: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    classes = [f"class_{index:03d}" for index in range(n_classes)]
    columns = {
        "fname": [f"{clip}.wav" for clip in range(n_clips)],
        "label": rng.choice(classes, n_clips),
        "manually_verified": rng.choice(["0", "1"], n_clips),
    }
    return pd.DataFrame(columns, dtype=object)


@pytest.fixture
def member(runs: dict[str, Path], stores: dict[str, Store]) -> EnsembleMember:
    return EnsembleMember(Run.load(runs["baseline"]), stores["baseline"])


def render_page(labels: pd.DataFrame, classes: list[str], member: EnsembleMember) -> str:
    """The page for random scores, without clip media."""
    scores = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(labels))
    system = SystemResult("many", "", Ensemble([member]), Evaluation(labels, scores, classes))
    data = json.loads(json.dumps(report_data([system], [[]], 15, False), allow_nan=False))
    reliability = reliability_diagram(system.reliability)
    return render(data, [{"reliability": reliability, "curves": learning_curves(system.histories)}])


@pytest.mark.parametrize(("n_classes", "n_clips"), [(2, 1), (41, 300), (521, 2000)])
def test_few_and_many_classes(n_classes: int, n_clips: int, member: EnsembleMember) -> None:
    labels = draw_labels(n_classes, n_clips)
    text = render_page(labels, [f"class_{index:03d}" for index in range(n_classes)], member)
    assert len(re.findall(r'<th scope="row">class_', text)) == n_classes
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' href="#([^"]+)"', text)) <= set(ids)
    assert ("is too large for this page" in text) == (n_classes == 521)
    assert len(text) < 3_000_000


def test_published_scores_are_shown_for_the_real_test_set_only(member: EnsembleMember) -> None:
    labels = read_labels(DATA / "test_post_competition_scoring_clips.csv", CLASSES)
    baseline = "baseline, as published on the real test set: "
    text = render_page(labels, CLASSES, member)
    assert text.count(baseline) == 2
    assert text.index("Private 1299 clips") < text.index(f"{baseline}0.6943") < text.index("Public 301 clips")
    assert text.index("Public 301 clips") < text.index(f"{baseline}0.7049")
    assert baseline not in render_page(labels[:-1], CLASSES, member)


def test_learning_curves_mark_the_best_epoch() -> None:
    columns = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "map3": [0.1, 0.6, 0.5], "seconds": [1, 2, 3]}
    loss, map3 = learning_curves({"run": pd.DataFrame(columns)}, "a-")
    assert 'aria-label="Learning curve: training loss by epoch."' in loss
    assert 'aria-label="Learning curve: validation MAP@3 by epoch."' in map3
    assert "epoch 2: 0.6000" in map3
    assert "epoch 2" not in loss


def test_a_run_without_held_out_clips_is_noted_with_the_remedy(member: EnsembleMember) -> None:
    labels = draw_labels(2, 3)
    validated = dataclasses.replace(member.run, validation_fingerprint="0" * 16)
    pages = [
        render_page(labels, ["class_000", "class_001"], EnsembleMember(run, member.store))
        for run in (member.run, validated)
    ]
    note = "No training clips were held out"
    assert [note in page for page in pages] == [True, False]
    assert "<code>make report VALIDATION=0.1</code>" in pages[0]


def test_learning_curves_show_the_validation_loss_and_shade_the_finetuning_phase() -> None:
    columns = {
        "epoch": [1, 2, 3, 4],
        "loss": [4.0, 3, 2, 1],
        "map3": [0.8, 0.9, 0.9, 0.9],
        "validation_loss": [3.0, 2, 1, 1],
    }
    histories = {"run": pd.DataFrame(columns)}
    plain, shaded = learning_curves(histories), learning_curves(histories, finetune_starts=[4])
    assert [re.findall('aria-label="Learning curve: (.*) by epoch', svg) for svg in plain] == [
        ["training loss"], ["validation loss"], ["validation MAP@3"],
    ]  # fmt: skip
    assert all(svg.count("opacity: 0.15") == 0 for svg in plain)
    assert all(svg.count("opacity: 0.15") == 1 for svg in shaded)
    assert ">0.80</text>" in plain[2]
    assert ">0.0</text>" not in plain[2]  # the axis does not start at 0


def test_matrix_marks_the_classes_that_are_never_confused() -> None:
    labels = pd.DataFrame({"fname": ["0.wav", "1.wav"], "label": ["a", "b"]}, dtype=object)
    scores = np.array([[0, 1, 0], [0, 1.0, 0]])
    system = SystemResult("x", "", NO_RUNS, Evaluation(labels, scores, list("abc")))
    view = SystemView(list("abc"), json.loads(json.dumps(system.to_dict([]))), {})
    assert view.class_levels == [0, 0, 2]
    assert (view.n_most_confused, view.n_confused) == (2, 2)
    assert view.percent(0, 1) == 100
