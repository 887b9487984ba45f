"""Clips with several labels: scored as such, and a first stage for a tagger of clips with one."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, run_fails, run_ok
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from dcase2018.data.labels import labels_per_clip, multi_hot, read_labels
from dcase2018.data.splits import stratified_folds as deal
from dcase2018.features.store import ClipRecord, Store, checksum, write_store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.cross_validation import fit_folds, out_of_fold, plan_folds, verified_map3
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.fit import fit

CLASSES = ["high", "low", "middle"]
BANDS = {"low": slice(0, 20), "middle": slice(22, 42), "high": slice(44, 64)}
PRESET = Preset(
    "mlp", HParams(classifier="logistic", batch_size=16, nh=32, lr=0.003, weights_init_stddev=0.05), epochs=10
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in one to three parts of the range; files with all labels of a clip, and with its first."""
    root = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    frames, sets = [], []
    for _ in range(80):
        sets.append(sorted(rng.choice(CLASSES, rng.integers(1, 4), replace=False)))
        clip = rng.standard_normal((61, 64)).astype(np.float32)
        for name in sets[-1]:
            clip[:, BANDS[name]] += rng.uniform(0.3, 1.5)
        frames.append(clip)
    entries = [ClipRecord(f"{i}.wav", 61, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(root / "s.h5", BASELINE, entries, frames)
    names = [str(i) for i in range(80)]
    several = pd.DataFrame({"fname": names, "labels": [",".join(labels) for labels in sets]})
    several[:60].to_csv(root / "dev.csv", index=False)
    several[60:].to_csv(root / "eval.csv", index=False)
    one = pd.DataFrame({"fname": [f"{i}.wav" for i in range(80)], "label": [labels[0] for labels in sets]})
    one.to_csv(root / "one.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(corpus: Path) -> Path:
    run_ok(
        "fit", corpus / "s.h5", corpus / "dev.csv", corpus / "run", "--model", "mlp", "--epochs", 10,
        "--hparams", "classifier=logistic,batch_size=16,nh=32,lr=0.003,weights_init_stddev=0.05",
    )  # fmt: skip
    return corpus / "run"


def test_it_learns_to_tell_them_apart(corpus: Path, run: Path) -> None:
    said = run_ok("evaluate", corpus / "s.h5", corpus / "eval.csv", run, "--output", corpus / "t.json")
    labels = read_labels(corpus / "eval.csv")
    truth = multi_hot(labels, CLASSES)
    scores = predict(Ensemble.open([run], [Store(corpus / "s.h5")]), labels["fname"]).to_numpy()
    rows = {row["label"]: row for row in json.loads((corpus / "t.json").read_text())}
    assert rows["overall"]["n_clips"] == 20
    assert rows["low"]["n_clips"] == truth[:, 1].sum()
    assert rows["low"]["map"] == pytest.approx(average_precision_score(truth[:, 1], scores[:, 1]))
    assert rows["overall"]["map"] == pytest.approx(average_precision_score(truth, scores))
    weighted = label_ranking_average_precision_score(truth, scores, sample_weight=truth.sum(axis=1))
    assert rows["overall"]["lwlrap"] == pytest.approx(weighted)
    assert rows["overall"]["map"] > 0.9  # by chance about two thirds
    assert said.splitlines()[0].split() == ["clips", "MAP@3", "95", "%", "mAP", "lwlrap"]


def test_a_softmax_is_refused(corpus: Path) -> None:
    message = run_fails(2, "fit", corpus / "s.h5", corpus / "dev.csv", corpus / "none", "--model", "mlp")
    assert "classifier=softmax tells one label a clip, and some have several" in message
    assert "--hparams classifier=logistic" in message
    assert not (corpus / "none").exists()


def test_folds(corpus: Path) -> None:
    labels = read_labels(corpus / "dev.csv")
    planned = plan_folds(corpus / "folds", deal(labels, 2, 0), PRESET, Store(corpus / "s.h5"), labels)
    fit_folds(planned, StoppingCriteria(), 250, False, 1)
    table = out_of_fold(planned)
    assert verified_map3(table) > 0.8
    given = dict(zip(labels["fname"], labels_per_clip(labels), strict=True))
    kept = dict(zip(table["fname"], labels_per_clip(table), strict=True))
    assert {name: set(names) for name, names in kept.items()} == {
        name: set(names) for name, names in given.items()
    }


@pytest.mark.parametrize("third", ["middle", "treble"])
def test_a_first_stage_for_clips_with_one_label(corpus: Path, run: Path, third: str) -> None:
    labels = read_labels(corpus / "one.csv").replace("middle", third)
    hparams = dataclasses.replace(PRESET.hparams, classifier="softmax", freeze="backbone", lr=1e-4)
    preset = Preset("mlp", hparams, 1)
    store, path = Store(corpus / "s.h5"), corpus / f"first, then {third}"
    experiment = Experiment.create(path, preset, store, labels, initial=InitialWeights.find(run))
    fit(experiment, StoppingCriteria(max_steps=1))
    first, second = (Run.load(folder).load_model().get_weights() for folder in (run, path))
    for mine, theirs in zip(second[:-2], first[:-2], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    # The classifier is taken over by the same classes only.
    assert (np.abs(second[-2] - first[-2]).max() < 2e-4) == (third == "middle")
