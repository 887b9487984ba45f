"""The page, rendered from numbers alone: of few classes and of many, of one clip and of many."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from dcase2018.reporting.account import Side, account
from dcase2018.reporting.charts import learning_curves, reliability_diagram
from dcase2018.reporting.page import render
from dcase2018.runs.ensemble import Ensemble
from dcase2018.scoring.evaluation import Evaluation


def rendered(n_classes: int, n_clips: int) -> str:
    """The page of clips whose scores are drawn, and of which nothing is shown."""
    rng = np.random.default_rng(0)
    classes = [f"class_{number:03d}" for number in range(n_classes)]
    labels = pd.DataFrame(
        {
            "fname": [f"{number}.wav" for number in range(n_clips)],
            "label": rng.choice(classes, n_clips),
            "manually_verified": rng.choice(["0", "1"], n_clips),
        },
        dtype=object,
    )
    evaluation = Evaluation(labels, rng.dirichlet(np.ones(n_classes), n_clips), classes)
    side = Side("many", "", Ensemble([]), evaluation)
    numbers = json.loads(json.dumps(account([side], [[]], 15, False), allow_nan=False))
    charts = {"reliability": reliability_diagram(side.reliability), "curves": learning_curves(side.histories)}
    return render(numbers, [charts])


@pytest.mark.parametrize(("n_classes", "n_clips"), [(2, 1), (41, 300), (521, 2000)])
def test_few_and_many_are_laid_out(n_classes: int, n_clips: int) -> None:
    text = rendered(n_classes, n_clips)
    assert len(re.findall(r'<th scope="row">class_', text)) == n_classes
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r' href="#([^"]+)"', text)) <= set(ids)
    assert ("is too large to be looked at" in text) == (n_classes == 521)
    assert len(text) < 3_000_000
