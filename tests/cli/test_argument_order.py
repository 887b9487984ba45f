"""Swapped arguments are recognized by what the files are."""

import shlex
from pathlib import Path

import pytest
from conftest import ToyPipeline

from dcase2018.cli.argument_order import Kind, kind_of
from dcase2018.cli.main import main


@pytest.fixture(scope="module")
def workplace(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short names for the parts of the toy corpus, and a file of each other kind."""
    folder = tmp_path_factory.mktemp("swapped")
    for name, path in (
        ("audio", toy_pipeline.data / "audio_test"),
        ("store.h5", toy_pipeline.test),
        ("train.csv", toy_pipeline.labels),
        ("truth.csv", toy_pipeline.test_labels),
        ("run", toy_pipeline.run),
        ("sample.csv", toy_pipeline.sample),
    ):
        (folder / name).symlink_to(path)
    (folder / "fold-1").mkdir()
    (folder / "guess.csv").write_text("fname,label\na.wav,Bark\nb.wav,Bus\n")
    (folder / "scores.csv").write_text("fname,Bark,Bus\na.wav,0.5,0.5\n")
    (folder / "out_of_fold.csv").write_text("fname,labels,verified,Bark,Bus\na.wav,Bark,True,0.5,0.5\n")
    (folder / "classes.csv").write_text("0,Bark\n1,Bus\n")
    (folder / "latin.csv").write_bytes(b"fname,label\na\xe9.wav,Bark\n")
    return folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("audio", Kind.AUDIO_FOLDER), ("store.h5", Kind.STORE), ("train.csv", Kind.LABELS),
        ("run", Kind.RUN), ("sample.csv", Kind.SUBMISSION), ("guess.csv", Kind.ONE_LABEL),
        ("scores.csv", Kind.SCORES), ("out_of_fold.csv", Kind.SCORES), ("classes.csv", Kind.CLASS_MAP),
        ("latin.csv", Kind.OTHER), ("fold-1", Kind.FOLDER), ("nothing", Kind.MISSING),
    ],
)  # fmt: skip
def test_a_path_is_recognized_by_its_content(workplace: Path, name: str, kind: Kind) -> None:
    assert kind_of(str(workplace / name)) == kind


SWAPPED = [
    ("score truth.csv sample.csv", "score sample.csv truth.csv"),
    ("score truth.csv guess.csv", "score guess.csv truth.csv"),
    ("fit train.csv store.h5 new", "fit store.h5 train.csv new"),
    ("fit new store.h5 train.csv --epochs 3", "fit store.h5 train.csv new --epochs 3"),
    ("fit run store.h5 train.csv", "fit store.h5 train.csv run"),
    ("tune train.csv store.h5 new --trials 3", "tune store.h5 train.csv new --trials 3"),
    ("extract new.h5 audio", "extract audio new.h5"),
    ("extract store.h5 audio --prune", "extract audio store.h5 --prune"),
    ("evaluate run store.h5 truth.csv", "evaluate store.h5 truth.csv run"),
    ("evaluate store.h5 run truth.csv run", "evaluate store.h5 truth.csv run run"),
    ("predict run store.h5 -o s.csv", "predict store.h5 run -o s.csv"),
    ("report truth.csv store.h5 run -o page", "report store.h5 truth.csv run -o page"),
    ("compare run run store.h5 truth.csv", "compare store.h5 truth.csv run run"),
    ("compare truth.csv - scores.csv scores.csv", "compare - truth.csv scores.csv scores.csv"),
    ("tag audio run", "tag run audio"),
    ("tag audio audio run -o t.csv", "tag run audio audio -o t.csv"),
    ("embed store.h5 run -o e.h5", "embed run store.h5 -o e.h5"),
    ("export new run", "export run new"),
    (
        "correct-labels out_of_fold.csv train.csv -o c",
        "correct-labels train.csv out_of_fold.csv -o c",
    ),
    ("find-label-issues out_of_fold.csv train.csv -o c", "find-label-issues train.csv out_of_fold.csv -o c"),
    ("make-labels new.csv audio", "make-labels audio new.csv"),
    ("class-map new.csv train.csv", "class-map train.csv new.csv"),
    ("class-map classes.csv train.csv", "class-map train.csv classes.csv"),
    ("split new train.csv", "split train.csv new"),
]


@pytest.mark.parametrize(("typed", "right"), SWAPPED)
def test_swapped_arguments_are_refused_with_the_right_order(
    workplace: Path,
    typed: str,
    right: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    with pytest.raises(SystemExit) as exit_code:
        main(shlex.split(typed))
    assert exit_code.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"dcase2018: the arguments are in another order: {typed.split()[0]} takes ")
    assert message.endswith(f"; use dcase2018 {right}\n")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("fit train.csv train.csv new", "train.csv is not a feature store"),  # no order fits
        ("evaluate store.h5 truth.csv nothing", "'nothing' does not exist"),
        ("evaluate store.h5 truth.csv", "Missing argument 'RUN...'"),
    ],
)
def test_arguments_that_fit_in_no_order_keep_their_own_error(
    workplace: Path,
    typed: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workplace)
    with pytest.raises(SystemExit) as exit_code:
        main(shlex.split(typed))
    assert exit_code.value.code == 2
    assert message in capsys.readouterr().err
