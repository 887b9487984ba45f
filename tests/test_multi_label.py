"""Multi-label clips: training, evaluation, cross-validation, and pretraining for a single-label tagger."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, run_fails, run_ok
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from dcase2018.data.labels import labels_per_clip, multi_hot, read_labels
from dcase2018.data.splits import stratified_folds
from dcase2018.evaluation.out_of_fold import OutOfFold, format_folds
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.cross_validation import fit_folds, out_of_fold, plan_folds
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.fit import fit

CLASSES = ["high", "low", "middle"]
BANDS = {"low": slice(0, 20), "middle": slice(22, 42), "high": slice(44, 64)}
PRESET = Preset(
    "mlp", HParams(classifier="logistic", batch_size=16, nh=32, lr=0.003, weights_init_stddev=0.05), epochs=10
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of noise in one to three bands; label files with all labels and with the first one."""
    root = tmp_path_factory.mktemp("multi_label")
    rng = np.random.default_rng(0)
    frames, label_sets = [], []
    for _ in range(80):
        label_sets.append(sorted(rng.choice(CLASSES, rng.integers(1, 4), replace=False)))
        clip = rng.standard_normal((61, 64)).astype(np.float32)
        for name in label_sets[-1]:
            clip[:, BANDS[name]] += rng.uniform(0.3, 1.5)
        frames.append(clip)
    records = [ClipRecord(f"{i}.wav", 61, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(root / "s.h5", BASELINE, records, frames)
    fnames = [str(i) for i in range(80)]
    multi_label = pd.DataFrame({"fname": fnames, "labels": [",".join(labels) for labels in label_sets]})
    multi_label[:60].to_csv(root / "dev.csv", index=False)
    multi_label[60:].to_csv(root / "eval.csv", index=False)
    fnames = [f"{i}.wav" for i in range(80)]
    single_label = pd.DataFrame({"fname": fnames, "label": [labels[0] for labels in label_sets]})
    single_label.to_csv(root / "single_label.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(corpus: Path) -> Path:
    run_ok(
        "fit", corpus / "s.h5", corpus / "dev.csv", corpus / "run", "--model", "mlp", "--epochs", 10,
        "--hparams", "classifier=logistic,batch_size=16,nh=32,lr=0.003,weights_init_stddev=0.05",
    )  # fmt: skip
    return corpus / "run"


@pytest.mark.slow
def test_evaluation_of_a_multi_label_tagger(corpus: Path, run: Path) -> None:
    output = run_ok("evaluate", corpus / "s.h5", corpus / "eval.csv", run, "--output", corpus / "t.json")
    labels = read_labels(corpus / "eval.csv")
    y_true = multi_hot(labels, CLASSES)
    scores = predict(Ensemble.open([run], [Store(corpus / "s.h5")]), labels["fname"]).to_numpy()
    rows = {row["label"]: row for row in json.loads((corpus / "t.json").read_text())}
    assert rows["overall"]["n_clips"] == 20
    assert rows["low"]["n_clips"] == y_true[:, 1].sum()
    assert rows["low"]["map"] == pytest.approx(average_precision_score(y_true[:, 1], scores[:, 1]))
    assert rows["overall"]["map"] == pytest.approx(average_precision_score(y_true, scores))
    lwlrap = label_ranking_average_precision_score(y_true, scores, sample_weight=y_true.sum(axis=1))
    assert rows["overall"]["lwlrap"] == pytest.approx(lwlrap)
    assert rows["overall"]["map"] > 0.9  # chance level about 2 / 3
    assert output.splitlines()[0].split() == ["clips", "MAP@3", "95", "%", "mAP", "lwlrap"]


def test_softmax_raises(corpus: Path) -> None:
    message = run_fails(2, "fit", corpus / "s.h5", corpus / "dev.csv", corpus / "none", "--model", "mlp")
    assert "classifier=softmax allows one label per clip, and some clips have several" in message
    assert "--hparams classifier=logistic" in message
    assert not (corpus / "none").exists()


@pytest.mark.slow
def test_out_of_fold_scores_have_the_given_labels(corpus: Path) -> None:
    labels = read_labels(corpus / "dev.csv")
    folds = plan_folds(
        corpus / "folds", stratified_folds(labels, 2, 0), PRESET, Store(corpus / "s.h5"), labels
    )
    fit_folds(folds, StoppingCriteria(), 250, False, 1)
    table = out_of_fold(folds)
    scores = OutOfFold.from_table(table)
    assert scores.evaluation.map3 > 0.8
    assert re.search(r"^mAP [01]\.\d{3} ± 0\.\d{3}, MAP@3 .* over 2 folds", format_folds(scores), re.M)
    assert list(scores.fold_table()) == ["n_clips", "map", "lwlrap", "map3"]
    given, out_of_fold_labels = (
        {fname: set(names) for fname, names in zip(table["fname"], labels_per_clip(table), strict=True)}
        for table in (labels, table)
    )
    assert out_of_fold_labels == given


@pytest.mark.parametrize("third", ["middle", "treble"])
def test_pretraining_for_a_single_label_tagger(corpus: Path, run: Path, third: str) -> None:
    labels = read_labels(corpus / "single_label.csv").replace("middle", third)
    hparams = dataclasses.replace(PRESET.hparams, classifier="softmax", freeze="backbone", lr=1e-4)
    preset = Preset("mlp", hparams, 1)
    store, path = Store(corpus / "s.h5"), corpus / f"pretrained-{third}"
    experiment = Experiment.create(path, preset, store, labels, initial=InitialWeights.find(run))
    fit(experiment, StoppingCriteria(max_steps=1))
    pretrained, tuned = (Run.load(folder).load_for_inference().get_weights() for folder in (run, path))
    for expected, weights in zip(pretrained[:-2], tuned[:-2], strict=True):
        np.testing.assert_array_equal(weights, expected)
    # The classifier is transferred only if the classes are the same.
    assert (np.abs(tuned[-2] - pretrained[-2]).max() < 2e-4) == (third == "middle")
