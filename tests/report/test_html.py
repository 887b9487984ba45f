"""The page, rendered from numbers alone: of few classes and of many, of one clip and of many."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from conftest import CLASSES, DATA

from dcase2018.data.labels import read_labels
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.inference.ensemble import Ensemble
from dcase2018.report.charts import learning_curves, reliability_diagram
from dcase2018.report.html import render
from dcase2018.report.summary import Side, account


def drawn(n_classes: int, n_clips: int) -> pd.DataFrame:
    """Clips with labels that are drawn."""
    rng = np.random.default_rng(0)
    classes = [f"class_{number:03d}" for number in range(n_classes)]
    columns = {
        "fname": [f"{number}.wav" for number in range(n_clips)],
        "label": rng.choice(classes, n_clips),
        "manually_verified": rng.choice(["0", "1"], n_clips),
    }
    return pd.DataFrame(columns, dtype=object)


def rendered(labels: pd.DataFrame, classes: list[str]) -> str:
    """The page of clips whose scores are drawn, and of which nothing is shown."""
    scores = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(labels))
    side = Side("many", "", Ensemble([]), Evaluation(labels, scores, classes))
    numbers = json.loads(json.dumps(account([side], [[]], 15, False), allow_nan=False))
    charts = {"reliability": reliability_diagram(side.reliability), "curves": learning_curves(side.histories)}
    return render(numbers, [charts])


@pytest.mark.parametrize(("n_classes", "n_clips"), [(2, 1), (41, 300), (521, 2000)])
def test_few_and_many_are_laid_out(n_classes: int, n_clips: int) -> None:
    labels = drawn(n_classes, n_clips)
    text = rendered(labels, [f"class_{number:03d}" for number in range(n_classes)])
    assert len(re.findall(r'<th scope="row">class_', text)) == n_classes
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' href="#([^"]+)"', text)) <= set(ids)
    assert ("is too large to be looked at" in text) == (n_classes == 521)
    assert len(text) < 3_000_000


def test_published_scores_stand_beside_those_on_the_real_test_set_and_no_others() -> None:
    labels = read_labels(DATA / "test_post_competition_scoring_clips.csv", CLASSES)
    words = "baseline, as published on the real test set: "
    text = rendered(labels, CLASSES)
    assert text.count(words) == 2
    assert text.index("Private 1299 clips") < text.index(f"{words}0.6943") < text.index("Public 301 clips")
    assert text.index("Public 301 clips") < text.index(f"{words}0.7049")
    assert words not in rendered(labels[:-1], CLASSES)
