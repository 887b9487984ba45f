"""Folds: who learns what, out-of-fold scores, and the folder of folds as one ensemble."""

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
from conftest import ToyPipeline, list_dir, run_fails
from test_fit import PRESET, assert_same, labels, make_store

from dcase2018.data.splits import stratified_folds
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
    verified_map3,
)
from dcase2018.utils.atomic import exclusive_lock
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import make_executors


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    frame = labels()
    frame["manually_verified"] = np.where(np.arange(30) % 2, "1", "0").astype(object)
    return frame


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame) -> tuple[Path, list[Fold]]:
    root = tmp_path_factory.mktemp("folds")
    planned = plan_folds(
        root / "run", stratified_folds(table, 3, 4), PRESET, make_store(root / "s.h5"), table, seed=4
    )
    fit_folds(planned, StoppingCriteria(), 250, False, 1)
    return root / "run", planned


def test_a_fold_learns_what_it_does_not_hold_out(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame
) -> None:
    verified = table["manually_verified"].to_numpy(str) == "1"
    held_out = []
    for fold in trained[1]:
        learned, kept = set(fold.experiment.training.rows), set(fold.held_out.rows)
        assert learned | kept == set(range(30))
        assert not learned & kept
        assert fold.experiment.validation
        assert set(fold.experiment.validation.rows) == {row for row in kept if verified[row]}
        held_out += list(kept)
    assert sorted(held_out) == list(range(30))


def test_out_of_fold_scores_are_those_of_the_network_that_did_not_learn_the_clip(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame
) -> None:
    scores = out_of_fold(trained[1])
    assert scores["fname"].tolist() == sorted(table["fname"])
    path, planned = trained
    for number, fold in enumerate(planned, 1):
        ensemble = Ensemble.open([path / f"fold-{number}"], [fold.held_out.store])
        fnames = [fold.held_out.store.fnames[row] for row in fold.held_out.rows]
        mine = scores.set_index("fname").loc[fnames, ensemble.classes]
        np.testing.assert_allclose(mine, predict(ensemble, fnames), rtol=1e-5)
    rows = scores[scores["verified"]]
    ranks = [1 + (row[ensemble.classes] > row[row["labels"]]).sum() for _, row in rows.iterrows()]
    assert verified_map3(scores) == pytest.approx(np.mean([1 / rank for rank in ranks]))
    assert verified_map3(scores) > 0.75  # by chance, three classes give 0.61


def test_a_folder_of_folds_is_one_ensemble(trained: tuple[Path, list[Fold]]) -> None:
    path, planned = trained
    store = planned[0].held_out.store
    whole = predict(Ensemble.open([path], [store]))
    members = [predict(Ensemble.open([path / f"fold-{n}"], [store])) for n in (1, 2, 3)]
    np.testing.assert_allclose(whole, np.mean(members, axis=0), rtol=1e-6)


@pytest.mark.slow
def test_a_cluster_trains_the_same(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame, tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed")
    store = Store(trained[1][0].held_out.store.path)
    planned = plan_folds(tmp_path / "run", stratified_folds(table, 3, 4), PRESET, store, table, seed=4)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        make_executors(3, str, cluster.scheduler_address) as executors,
    ):
        assert len(executors) == 2
        fit_folds(planned, StoppingCriteria(), 250, False, 1, executors)
        scores = out_of_fold(planned, executors)
    pd.testing.assert_frame_equal(scores, out_of_fold(trained[1]), atol=1e-5)
    for mine, theirs in zip(planned, trained[1], strict=True):
        weights = [fold.experiment.run.load_for_inference().get_weights() for fold in (mine, theirs)]
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


def start_folds(
    toy_pipeline: ToyPipeline, run: Path, accelerators: str, *more: object
) -> subprocess.Popen[str]:
    fit = (
        "fit",
        toy_pipeline.train,
        toy_pipeline.labels,
        run,
        "--folds",
        3,
        "--preset",
        "quick",
        "--epochs",
        3,
        *more,
    )
    return subprocess.Popen(
        [sys.executable, "-c", FIT, *map(str, fit)], env=os.environ | {"CUDA_VISIBLE_DEVICES": accelerators},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_accelerators_train_a_fold_each_to_the_same_bits(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    said, told = start_folds(toy_pipeline, one, "").communicate()
    assert "at a time" not in told
    first = start_folds(toy_pipeline, two, "0,1", "--save-every", 3)
    deadline = time.monotonic() + 120
    while len(list(two.glob("fold-*/checkpoints/step-*"))) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGINT)
    assert first.communicate()[1].endswith(
        "\ndcase2018: stopped; what was finished is kept, and the same command goes on\n"
    )
    assert first.returncode == 130
    second = start_folds(toy_pipeline, two, "0,1", "--save-every", 3)
    again, told = second.communicate()
    assert "accelerators 0, 1: as many trainings at a time\n" in told
    assert told.count("going on after step") == 2
    assert again == said.replace("one", "two").replace("['keras', 'tensorflow']", "[]")
    for fold in ("fold-1", "fold-2", "fold-3"):
        assert_same(Run.load(one / fold), Run.load(two / fold))
    assert (one / OUT_OF_FOLD_CSV).read_bytes() == (two / OUT_OF_FOLD_CSV).read_bytes()


@pytest.mark.slow
def test_a_fold_that_cannot_learn_is_told_in_one_line(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    taken = tmp_path / "run" / "fold-2"
    taken.mkdir(parents=True)
    with exclusive_lock(taken, taken):
        said, told = (failed := start_folds(toy_pipeline, tmp_path / "run", "0,1")).communicate()
    assert (failed.returncode, said) == (1, "[]\n")
    assert (
        told.splitlines()[-1] == f"dcase2018: {taken} is being written by another process; wait for it to end"
    )
    assert "Traceback" not in told
    assert not (tmp_path / "run" / "fold-3").exists()


def test_options_that_do_not_go_together(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    fit = ("fit", toy_pipeline.train, toy_pipeline.labels, tmp_path / "run")
    assert "leave --validation and --pretrained away" in run_fails(
        2, *fit, "--folds", 3, "--validation", toy_pipeline.validation
    )
    assert "--fold needs --folds" in run_fails(2, *fit, "--fold", 1)
    assert "--fold 4 is not among the 3 folds" in run_fails(2, *fit, "--folds", 3, "--fold", 4)
    assert "give --validation too" in run_fails(2, *fit, "--patience", 3)
    assert not (tmp_path / "run").exists()


def test_folds_of_another_number_do_not_join(
    trained: tuple[Path, list[Fold]], table: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    (folder / OUT_OF_FOLD_CSV).write_text("")
    (folder / "fold-3" / "notes.txt").write_text("mine")
    store = trained[1][0].held_out.store
    fewer = plan_folds(folder, stratified_folds(table, 2, 4), PRESET, store, table, seed=4)
    with pytest.raises(InputError, match="fold-3 is none of these 2 folds, and would join their ensemble"):
        remove_stale_folds(folder, fewer, force=False)
    assert (folder / "fold-3" / "model.keras").exists()
    remove_stale_folds(folder, fewer, overwrite=True)
    assert not (folder / OUT_OF_FOLD_CSV).exists()
    assert list_dir(folder / "fold-3") == ["notes.txt"]


def test_folds_without_verified_clips(table: pd.DataFrame, tmp_path: Path) -> None:
    table = table.assign(manually_verified="0")
    store = make_store(tmp_path / "s.h5")
    planned = plan_folds(tmp_path / "run", stratified_folds(table, 2, 0), PRESET, store, table)
    assert [fold.experiment.validation for fold in planned] == [None, None]
    scores = pd.DataFrame({"fname": ["a"], "labels": ["x"], "verified": [False], "x": [1.0]})
    assert verified_map3(scores) is None
