"""Clips that a run was trained on: recorded, refused by default, marked on request; other clips of a name."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from test_fit import PRESET, make_store
from test_fit import labels as labels_with_spaces

from dcase2018.cli.main import main
from dcase2018.data.labels import write_table
from dcase2018.evaluation.confidence_intervals import score_table
from dcase2018.evaluation.evaluate import check_training_clips, evaluate, format_table
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.runs.run import Run
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.fit import fit
from dcase2018.utils.errors import InputError


def labels(clips: range) -> pd.DataFrame:
    """Labels that a label file may hold."""
    return labels_with_spaces(clips).replace(" ", "_", regex=True)


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of 40 clips, and two folds that train on the clips 0 to 9 and 10 to 19."""
    root = tmp_path_factory.mktemp("training_clips")
    store = make_store(root / "s.h5")
    for number, clips in ((1, range(10)), (2, range(10, 20))):
        fit(Experiment.create(root / "folds" / f"fold-{number}", PRESET, store, labels(clips)))
    return root / "folds"


def open_folds(folds: Path, store: Path | None = None) -> Ensemble:
    return Ensemble.open([folds], [Store(store or folds.parent / "s.h5")])


def test_run_records_names_and_checksums_of_its_training_clips(folds: Path) -> None:
    store = Store(folds.parent / "s.h5")
    expected = {(f"{i}.wav", int(store.crc32[store.rows[f"{i}.wav"]])) for i in range(10)}
    assert Run.load(folds / "fold-1").training_clips() == expected


def test_pretrained_run_adds_its_training_clips(folds: Path, tmp_path: Path) -> None:
    initial = InitialWeights.find(folds / "fold-1")
    experiment = Experiment.create(
        tmp_path / "run", PRESET, Store(folds.parent / "s.h5"), labels(range(20, 30)), initial=initial
    )
    names = {fname for fname, _ in experiment.training_clip_keys()}
    assert names == {f"{i}.wav" for i in (*range(10), *range(20, 30))}


@pytest.mark.parametrize("clip", [0, 19])
def test_training_clip_of_any_fold_is_refused(folds: Path, clip: int) -> None:
    evaluated = labels(range(20, 30))
    assert evaluate(open_folds(folds), evaluated).is_training_clip is None
    evaluated.loc[3, "fname"] = f"{clip}.wav"
    with pytest.raises(InputError, match=rf"^1 of 10 clips are training clips of .*such as '{clip}\.wav'"):
        evaluate(open_folds(folds), evaluated)


def test_training_clips_are_scored_and_marked_on_request(folds: Path) -> None:
    evaluation = evaluate(open_folds(folds), labels(range(15, 25)), allow_trained=True)
    table = score_table(evaluation)
    assert table["n_training_clips"].tolist() == [2, 2, 1, 5]
    assert evaluation.clips["is_training_clip"].tolist() == [1] * 5 + [0] * 5
    assert "training clips: 5 of 10; their scores" in format_table(table)
    assert evaluation.subset(np.arange(10) >= 5).table["n_training_clips"].tolist() == [0, 0, 0, 0]


def test_other_clips_of_the_same_names_are_scored_with_a_warning(
    folds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_store(tmp_path / "other.h5", level=1.5)
    ensemble = open_folds(folds, tmp_path / "other.h5")
    fnames = list(labels(range(5, 25))["fname"])
    assert not check_training_clips(ensemble, fnames, allow_trained=False).any()
    ensemble.warn_of_namesakes(fnames)
    assert "15 clips have the name of a training clip but other frames" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is missing"),
        ("fname,crc\n", "is damaged: the header is not fname,crc32"),
        ("fname,crc32\n0.wav\n", "is damaged"),
        ("fname,crc32\n0.wav,zz\n", "is damaged"),
        ("", "is damaged"),
    ],
)
def test_missing_or_damaged_list_is_refused(
    folds: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    run = Run.load(folds / "fold-1")
    broken = type(run)(**vars(run) | {"path": tmp_path})
    if content is not None:
        (tmp_path / "training_clips.csv").write_text(content)
    with pytest.raises(InputError, match=rf"training_clips\.csv {message}.*train again"):
        broken.training_clips()


@pytest.mark.parametrize("command", ["evaluate", "report", "compare"])
def test_commands_refuse_training_clips(folds: Path, tmp_path: Path, command: str) -> None:
    write_table(tmp_path / "labels.csv", labels(range(10)))
    (folds / "out_of_fold.csv").touch()
    options = {"report": ("-o", tmp_path / "report"), "compare": (folds / "fold-2",)}.get(command, ())
    arguments = (command, folds.parent / "s.h5", tmp_path / "labels.csv", folds, *options)
    result = CliRunner().invoke(main, list(map(str, arguments)))
    message = result.stderr
    assert result.exit_code == 2
    assert "10 of 10 clips are training clips of" in message
    assert f"--out-of-fold {folds}, or add --allow-trained" in message
    assert "loading Keras" not in message
    assert not (tmp_path / "report").exists()
