"""The library: its public names, and the pipeline from Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from conftest import ROOT

import dcase2018 as dc
from dcase2018.cli.main import main
from dcase2018.utils.errors import InputError


@pytest.mark.slow
def test_pipeline_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dc.synthesize("demo")
    for split in ("train", "test"):
        dc.extract(f"demo/audio_{split}", f"{split}.h5", dc.FEATURE_CONFIGS["baseline"])
    labels = dc.read_labels("demo/train.csv")
    dc.fit(dc.Experiment.create("run", dc.PRESETS["quick"], dc.Store("train.h5"), labels))
    ensemble = dc.Ensemble.open(["run"], [dc.Store("test.h5")])
    test_labels = dc.read_labels("demo/test_post_competition.csv", ensemble.classes)
    evaluation = dc.evaluate(ensemble, test_labels)
    assert 0.5 < evaluation.map3 <= 1  # by chance 0.045
    dc.write_submission("submission.csv", dc.predict(ensemble))
    submission = pd.read_csv("submission.csv", keep_default_na=False)
    assert list(submission) == ["fname", "label"]
    assert len(submission) == 175
    assert (submission["label"].str.count(" ") == 2).all()


def test_no_package_hides_a_public_name() -> None:
    packages = {path.parent.name for path in (ROOT / "dcase2018").glob("*/__init__.py")}
    assert not packages & set(dc.__all__)


def test_public_names_exist_and_are_documented() -> None:
    for name in dc.__all__:
        value = getattr(dc, name)
        assert name in ("FEATURE_CONFIGS", "PRESETS", "__version__") or value.__doc__
    assert set(dc.__all__) <= set(dir(dc))
    with pytest.raises(AttributeError):
        dc.no_such_name  # noqa: B018


def test_public_names_are_imported_on_use() -> None:
    code = (
        "import sys, dcase2018; dcase2018.read_labels; print('keras' in sys.modules, 'h5py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_errors_are_those_of_the_commands(tmp_path: Path) -> None:
    with pytest.raises(dc.InputError, match=r"none\.h5 does not exist; dcase2018 extract writes it"):
        dc.Store(tmp_path / "none.h5")
    assert dc.InputError is InputError


def test_recordings_are_tagged_from_python(runs: dict[str, Path], recordings: Path) -> None:
    tagger = dc.AudioTagger.open([runs["logmel96"]])
    assert tagger.scores(recordings / "long.wav").sum() == pytest.approx(1)
    windows = tagger.window_scores(recordings / "long.wav")
    assert len(windows) == len(windows.scores) == len(windows.starts) > 10
    events = dc.detect_events(windows, tagger.classes, dc.EventConfig(threshold=0.3))
    assert events
    assert all(isinstance(event, dc.Event) for event in events)


def test_the_tagger_returns_the_table_of_predict(
    runs: dict[str, Path], stores: dict[str, dc.Store], recordings: Path
) -> None:
    expected = dc.predict(dc.Ensemble.open(runs["logmel96"], stores["logmel96"]))
    tagger = dc.AudioTagger.open(runs["logmel96"])
    paths = [recordings / fname for fname in expected.index]
    pd.testing.assert_frame_equal(tagger.predict(paths), expected, atol=1e-6)
    for dtype in ("float32", "int16"):
        samples, sample_rate = soundfile.read(recordings / "long.wav", dtype=dtype)
        scores = tagger.predict(samples, sample_rate)
        assert scores.index.tolist() == ["array.wav"]
        np.testing.assert_allclose(scores.loc["array.wav"], expected.loc["long.wav"], atol=1e-5)
    windows = tagger.window_scores(samples, sample_rate=sample_rate)
    np.testing.assert_array_equal(windows.scores, tagger.window_scores(recordings / "long.wav").scores)


def test_the_tagger_names_files_that_it_cannot_use(
    runs: dict[str, Path], recordings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tagger = dc.AudioTagger.open(runs["logmel96"])
    (tmp_path / "text.wav").write_text("no audio")
    with pytest.raises(dc.AudioReadError, match=r"text\.wav: "):
        tagger.scores(tmp_path / "text.wav")
    with pytest.raises(dc.InputError, match=r"none of the recordings can be used, for example text\.wav: "):
        tagger.predict(tmp_path / "text.wav")
    shutil.copy(recordings / "one.wav", tmp_path)
    assert tagger.predict(tmp_path).index.tolist() == ["one.wav"]
    assert "failed: text.wav: " in caplog.text


@pytest.mark.parametrize(
    ("samples", "sample_rate", "message"),
    [
        (np.zeros(9), None, "an array of samples needs its sample_rate"),
        (np.zeros(9), 44100.5, "sample_rate must be a whole number, not 44100.5"),
        (np.zeros((2, 999)), 44100, r"must be \(n_samples,\) or .*, not \(2, 999\); transpose it"),
        (np.zeros(9, np.uint8), 44100, "samples must be float32, float64, int16, int32, not uint8"),
        (
            np.full(9, np.nan),
            44100,
            r"none of the recordings can be used, for example array\.wav: not finite",
        ),
        ("a.wav", 44100, "sample_rate applies to an array of samples"),
    ],
)
def test_wrong_arrays_are_refused(
    samples: Any, sample_rate: Any, message: str, runs: dict[str, Path]
) -> None:
    with pytest.raises(dc.InputError, match=message):
        dc.AudioTagger.open(runs["logmel96"]).predict(samples, sample_rate)


def test_tag_and_embed_write_the_files_of_the_commands(
    runs: dict[str, Path], recordings: Path, tmp_path: Path
) -> None:
    run = runs["logmel96"]
    tagger, paths = dc.AudioTagger.open(run), [recordings / "long.wav", recordings / "one.wav"]
    results = list(dc.tag(tagger, paths, dc.EventConfig(threshold=0.3), output=tmp_path / "a.events.csv"))
    options = [run, *paths, "--detect-events", "--threshold", "0.3", "--format", "events"]
    for command in (
        ["tag", *options, "-o", tmp_path / "b.csv"],
        ["embed", run, *paths, "-o", tmp_path / "b.h5"],
    ):
        assert CliRunner().invoke(main, list(map(str, command))).exit_code == 0
    assert (tmp_path / "a.events.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    written = pd.read_csv(tmp_path / "a.events.csv")
    assert list(written) == ["fname", "onset", "offset", "label", "score"]
    events = [(r.file.fname, e) for r in results if isinstance(r, dc.TaggingResult) for e in r.events]
    assert len(written) == len(events) > 0
    assert written["label"].tolist() == [event.label for _, event in events]
    np.testing.assert_allclose(written["onset"], [event.onset for _, event in events], atol=1e-3)
    assert dc.embed(dc.Run.load(run), paths, tmp_path / "a.h5") == ([], {})
    pd.testing.assert_frame_equal(
        dc.read_embeddings(tmp_path / "a.h5"), dc.read_embeddings(tmp_path / "b.h5")
    )


def make_evaluation(fnames: list[str], n_correct: int, classes: str = "xy") -> dc.Evaluation:
    labels = pd.DataFrame({"fname": fnames, "label": list(classes[0] * len(fnames))})
    scores = np.where(np.arange(len(fnames))[:, None] < n_correct, [0.9, 0.1], [0.1, 0.9])
    return dc.Evaluation(labels, scores, list(classes))


def test_an_evaluation_has_the_intervals_of_the_score_table() -> None:
    evaluation = make_evaluation([f"{i}.wav" for i in range(300)], 150)
    overall = dc.score_table(evaluation).query("label == 'overall'").iloc[0]
    assert evaluation.intervals == dc.confidence_intervals(evaluation) == {
        "map3": (overall["ci_low"], overall["ci_high"]),
        "accuracy": (overall["accuracy_ci_low"], overall["accuracy_ci_high"]),
    }  # fmt: skip
    low, high = evaluation.intervals["accuracy"]
    assert 0.44 < low < 0.45 < 0.55 < high < 0.56  # 0.5 ± 1.96 sqrt(0.25 / 300)


def test_compare_takes_evaluations_of_the_same_clips() -> None:
    a, b = (make_evaluation(["a.wav", "b.wav"], n_correct) for n_correct in (1, 2))
    assert dc.compare(a, b) == dc.compare([a], [b])
    for other, message in (
        (make_evaluation(["a.wav", "c.wav"], 1), "different clips or labels"),
        (make_evaluation(["a.wav", "b.wav"], 1, "xz"), "different classes"),
    ):
        with pytest.raises(dc.InputError, match=message):
            dc.compare(a, other)


def test_objects_have_short_representations(
    runs: dict[str, Path], stores: dict[str, dc.Store], tmp_path: Path
) -> None:
    run, store = runs["baseline"], stores["baseline"]
    clips = [fname for fname, length in zip(store.fnames, store.lengths, strict=True) if length]
    labels = pd.DataFrame({"fname": clips, "label": list("xy" * 9)[: len(clips)]})
    assert repr(store) == f"<Store {store.path}: {len(store)} clips, 64 values per frame>"
    assert repr(dc.Run.load(run)).startswith(f"<Run {run}: ")
    assert repr(dc.Ensemble.open(run, store)) == f"<Ensemble of {run}: 3 classes>"
    assert repr(dc.AudioTagger.open(run)) == f"<AudioTagger of {run}: 3 classes>"
    experiment = dc.Experiment.create(tmp_path / "run", dc.PRESETS["quick"], store, labels[2:], labels[:2])
    assert (
        repr(experiment)
        == f"<Experiment {tmp_path}/run: mlp, {len(clips) - 2} training and 2 validation clips>"
    )
    evaluation = make_evaluation(["a.wav", "b.wav"], 1)
    assert repr(evaluation) == "<Evaluation: 2 clips, 2 classes, MAP@3 0.7500>"
    assert repr(dc.HParams(lr=0.1, pad_mode="wrap")) == "HParams(lr=0.1, pad_mode='wrap')"
    assert repr(dc.FEATURE_CONFIGS["yamnet"]) == "FeatureConfig(sample_rate=16000)"


def test_unknown_names_of_presets_and_feature_configs_name_the_nearest() -> None:
    with pytest.raises(
        dc.InputError, match="'compct' is unknown; the nearest name is 'compact' of baseline, "
    ):
        dc.PRESETS["compct"]
    with pytest.raises(dc.InputError, match="'logmel' is unknown; the nearest name is 'logmel96'"):
        dc.FEATURE_CONFIGS["logmel"]
    assert dc.PRESETS.get("compct") is None


@pytest.mark.slow
def test_a_type_checker_finds_the_public_names(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        "import dcase2018 as dc\n"
        "ensemble: dc.Ensemble = dc.Ensemble.open(['run'], [dc.Store('s.h5')])\n"
        "labels = dc.read_labels('l.csv', ensemble.classes)\n"
        "evaluation: dc.Evaluation = dc.evaluate(ensemble, labels)\n"
        "reason: str = dc.fit(dc.Experiment.create('run', dc.PRESETS['quick'], dc.Store('s.h5'), labels))\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import dcase2018 as dc\ndc.no_such_name\ndc.extract('clips', 's.h5', 'logmel96')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "--cache-dir", "cache"]

    def check(name: str) -> str:
        environment = os.environ | {"MYPYPATH": str(ROOT)}
        return subprocess.run(
            [*command, name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        ).stdout

    assert check("right.py") == "Success: no issues found in 1 source file\n"
    errors = check("wrong.py")
    assert 'Module has no attribute "no_such_name"' in errors
    assert 'Argument 3 to "extract" has incompatible type "str"; expected "FeatureConfig"' in errors
    assert "Found 2 errors in 1 file" in errors
