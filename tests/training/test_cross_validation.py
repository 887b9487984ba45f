"""Cross-validation: training and held-out clips, out-of-fold scores, and the ensemble of folds."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ToyPipeline, list_dir, run_fails, run_ok
from scipy.stats import gmean
from test_fit import PRESET, assert_same, labels, make_store

from dcase2018.data.splits import stratified_folds
from dcase2018.evaluation.out_of_fold import OutOfFold, format_folds
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.runs.run import OUT_OF_FOLD_CSV, Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.cross_validation import (
    Fold,
    fit_folds,
    out_of_fold,
    plan_folds,
    remove_stale_folds,
)
from dcase2018.utils.errors import InputError
from dcase2018.utils.locks import exclusive_lock
from dcase2018.utils.parallel import open_workers


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    frame = labels()
    frame["manually_verified"] = np.where(np.arange(30) % 2, "1", "0").astype(object)
    return frame


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame) -> tuple[Path, list[Fold]]:
    root = tmp_path_factory.mktemp("folds")
    store = make_store(root / "s.h5")
    folds = plan_folds(root / "run", stratified_folds(table, 3, 4), PRESET, store, table, seed=4)
    fit_folds(folds, StoppingCriteria(), 250, False, 1)
    return root / "run", folds


def test_fold_trains_on_all_clips_but_its_own(trained: tuple[Path, list[Fold]], table: pd.DataFrame) -> None:
    verified = table["manually_verified"].to_numpy(str) == "1"
    all_held_out = []
    for fold in trained[1]:
        training, held_out = set(fold.experiment.training.rows), set(fold.held_out.rows)
        assert training | held_out == set(range(30))
        assert not training & held_out
        assert fold.experiment.validation
        assert set(fold.experiment.validation.rows) == {row for row in held_out if verified[row]}
        all_held_out += list(held_out)
    assert sorted(all_held_out) == list(range(30))


def test_out_of_fold_scores_are_those_of_the_held_out_models(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame
) -> None:
    scores = out_of_fold(trained[1])
    assert scores["fname"].tolist() == sorted(table["fname"])
    path, folds = trained
    for number, fold in enumerate(folds, 1):
        ensemble = Ensemble.open([path / f"fold-{number}"], [fold.held_out.store])
        fnames = [fold.held_out.store.fnames[row] for row in fold.held_out.rows]
        actual = scores.set_index("fname").loc[fnames, ensemble.classes]
        np.testing.assert_allclose(actual, predict(ensemble, fnames), rtol=1e-5)
        assert (scores["fold"] == number).to_numpy()[scores["fname"].isin(fnames)].all()
    rows = scores[scores["verified"]]
    ranks = [1 + (row[ensemble.classes] > row[row["labels"]]).sum() for _, row in rows.iterrows()]
    parts = OutOfFold.from_table(scores).evaluation.by_usage
    assert list(parts) == ["all", "unverified", "verified"]
    assert parts["verified"].map3 == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert parts["verified"].map3 > 0.75  # chance level of three classes is 0.61


def test_folder_of_folds_is_one_ensemble(trained: tuple[Path, list[Fold]]) -> None:
    path, folds = trained
    store = folds[0].held_out.store
    ensemble = predict(Ensemble.open([path], [store]))
    members = [predict(Ensemble.open([path / f"fold-{n}"], [store])) for n in (1, 2, 3)]
    np.testing.assert_allclose(ensemble, np.mean(members, axis=0), rtol=1e-6)


def test_pooling_applies_to_the_folds_of_an_ensemble(
    trained: tuple[Path, list[Fold]], caplog: pytest.LogCaptureFixture
) -> None:
    path, folds = trained
    store = folds[0].held_out.store
    with caplog.at_level("INFO"):
        opened = Ensemble.open([path], [store], clip_pooling="geometric_mean")
        assert "mean over 3 runs" not in caplog.text
        ensemble = predict(opened)
    assert "scores: geometric mean over 3 runs, as over the windows of a clip" in caplog.messages
    runs = [path / f"fold-{n}" for n in (1, 2, 3)]
    members = [predict(Ensemble.open([run], [store], clip_pooling="geometric_mean")) for run in runs]
    expected = gmean(np.maximum(members, 1e-7), axis=0)
    np.testing.assert_allclose(ensemble, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)


@pytest.mark.slow
def test_cluster_trains_the_same_models(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    store = Store(trained[1][0].held_out.store.path)
    folds = plan_folds(tmp_path / "run", stratified_folds(table, 3, 4), PRESET, store, table, seed=4)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        open_workers(3, str, cluster.scheduler_address) as workers,
    ):
        assert len(workers) == 2
        fit_folds(folds, StoppingCriteria(), 250, False, 1, workers)
        scores = out_of_fold(folds, workers)
    pd.testing.assert_frame_equal(scores, out_of_fold(trained[1]), atol=1e-5)
    for pair in zip(folds, trained[1], strict=True):
        weights = [fold.experiment.run.load_for_inference().get_weights() for fold in pair]
        for a, b in zip(*weights, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


FIT = """
import sys
from dcase2018.cli.main import main
if __name__ == "__main__":
    try:
        main()
    finally:
        print(sorted({"keras", "tensorflow"} & set(sys.modules)))
"""


def start_folds(toy_pipeline: ToyPipeline, run: Path, gpus: str, *options: object) -> subprocess.Popen[str]:
    arguments = (
        "fit", toy_pipeline.train, toy_pipeline.labels, run, "--folds", 3, "--preset", "quick", "--epochs", 3,
        *options,
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", FIT, *map(str, arguments)], env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_gpu_processes_train_bit_identical_folds(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    inline_output, inline_log = start_folds(toy_pipeline, one, "").communicate()
    assert "training in 2 processes" not in inline_log
    interrupted = start_folds(toy_pipeline, two, "0,1", "--save-every", 3)
    deadline = time.monotonic() + 120
    while len(list(two.glob("fold-*/checkpoints/step-*"))) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(interrupted.pid, signal.SIGINT)
    assert interrupted.communicate()[1].endswith(
        "\ndcase2018: stopped; run the same command again to resume\n"
    )
    assert interrupted.returncode == 130
    resumed = start_folds(toy_pipeline, two, "0,1", "--save-every", 3)
    output, messages = resumed.communicate()
    assert "GPUs 0, 1: training in 2 processes\n" in messages
    assert messages.count("resuming after step") == 2
    assert output == inline_output.replace("one", "two").replace("['keras', 'tensorflow']", "[]")
    for fold in ("fold-1", "fold-2", "fold-3"):
        assert_same(Run.load(one / fold), Run.load(two / fold))
    assert (one / OUT_OF_FOLD_CSV).read_bytes() == (two / OUT_OF_FOLD_CSV).read_bytes()


@pytest.mark.slow
def test_failed_fold_is_reported_in_one_line(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    locked = tmp_path / "run" / "fold-2"
    locked.mkdir(parents=True)
    with exclusive_lock(locked, locked):
        output, messages = (failed := start_folds(toy_pipeline, tmp_path / "run", "0,1")).communicate()
    assert (failed.returncode, output) == (1, "[]\n")
    last_line = messages.splitlines()[-1]
    assert last_line.startswith(f"dcase2018: {locked} is being written by another process")
    # A library's callback of garbage collection may be interrupted by the signal, and report that.
    assert "Traceback" not in messages.partition("Exception ignored in")[0]
    assert not (tmp_path / "run" / "fold-3").exists()


def test_contradicting_options_are_refused(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    fit = ("fit", toy_pipeline.train, toy_pipeline.labels, tmp_path / "run")
    assert "do not allow --validation or --pretrained" in run_fails(
        2, *fit, "--folds", 3, "--validation", toy_pipeline.validation
    )
    assert "--fold requires --folds" in run_fails(2, *fit, "--fold", 1)
    assert "--fold 4 does not exist; there are 3 folds" in run_fails(2, *fit, "--folds", 3, "--fold", 4)
    assert "--patience requires --validation" in run_fails(2, *fit, "--patience", 3)
    assert not (tmp_path / "run").exists()


def test_stale_folds_are_refused_or_removed(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    (folder / OUT_OF_FOLD_CSV).write_text("")
    (folder / "fold-3" / "notes.txt").write_text("mine")
    store = trained[1][0].held_out.store
    fewer_folds = plan_folds(folder, stratified_folds(table, 2, 4), PRESET, store, table, seed=4)
    with pytest.raises(InputError, match="fold-3 is not one of these 2 folds"):
        remove_stale_folds(folder, fewer_folds, overwrite=False)
    assert (folder / "fold-3" / "model.keras").exists()
    remove_stale_folds(folder, fewer_folds, overwrite=True)
    assert not (folder / OUT_OF_FOLD_CSV).exists()
    assert list_dir(folder / "fold-3") == ["notes.txt"]


def test_folds_without_verified_clips_have_no_validation(table: pd.DataFrame, tmp_path: Path) -> None:
    table = table.assign(manually_verified="0")
    store = make_store(tmp_path / "s.h5")
    folds = plan_folds(tmp_path / "run", stratified_folds(table, 2, 0), PRESET, store, table)
    assert [fold.experiment.validation for fold in folds] == [None, None]


@pytest.mark.slow
def test_fold_column_ends_with_mean_and_spread(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    table = pd.read_csv(toy_pipeline.labels, dtype=str)
    table["fold"] = np.where(np.arange(len(table)) % 2, "B", "A")
    table.to_csv(tmp_path / "labels.csv", index=False)
    options = ("--fold-column", "fold", "--preset", "quick", "--epochs", 2)
    printed = run_ok("fit", toy_pipeline.train, tmp_path / "labels.csv", tmp_path / "run", *options)
    expected = OutOfFold.load(tmp_path / "run")
    assert printed == f"{tmp_path / 'run'}: 2 folds\n{format_folds(expected)}\n"
    accuracy = expected.fold_table()["accuracy"]
    spread = np.std(accuracy, ddof=1)
    assert printed.splitlines()[-1].startswith(f"accuracy {np.mean(accuracy):.3f} ± {spread:.3f}, MAP@3 ")
