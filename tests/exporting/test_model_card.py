"""The model card of an export, for a run on the toy corpus and on clips of FSDKaggle2018."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from conftest import ToyPipeline

import dcase2018.exporting.export as export_module
from dcase2018.exporting.bundle import make_metadata
from dcase2018.exporting.export import export
from dcase2018.exporting.model_card import render_model_card
from dcase2018.runs.run import Run


@pytest.fixture
def run(toy_pipeline: ToyPipeline, tmp_path: Path) -> Path:
    """A copy of the toy run."""
    return shutil.copytree(toy_pipeline.run, tmp_path / "run")


def rename_a_training_clip(run: Path, fname: str) -> None:
    header, first, *rest = (run / "training_clips.csv").read_text().splitlines()
    first = f"{fname},{first.split(',')[1]}"
    (run / "training_clips.csv").write_text("\n".join([header, first, *rest, ""]))


def read_card(path: Path, checkpoint: int | str | None = None, format: str = "onnx") -> tuple[Any, str]:
    """Return the front matter and the text of a run's model card."""
    run = Run.load(path)
    metadata = make_metadata(run, checkpoint, format)
    card = render_model_card(run, checkpoint, metadata, pd.Series([1e-6]))
    _, front_matter, text = card.split("---\n", 2)
    return yaml.safe_load(front_matter), text


def test_front_matter_has_what_model_hubs_read(run: Path) -> None:
    values, text = read_card(run, format="litert")
    (model,) = values.pop("model-index")
    assert values == {
        "license": "unknown",
        "library_name": "litert",
        "pipeline_tag": "audio-classification",
        "tags": ["audio-tagging", "dcase2018"],
        "metrics": ["map_at_3"],
    }
    history = pd.read_csv(run / "history.csv")
    (metric,) = model["results"][0]["metrics"]
    assert (metric["type"], metric["value"]) == ("map_at_3", round(history.map3.iloc[-1], 4))
    for heading in ("Intended use", "Limits", "Data", "Scores", "License"):
        assert f"\n## {heading}\n" in text
    n_clips = len((run / "training_clips.csv").read_text().splitlines()) - 1
    assert f"trained on {n_clips} clips of 41 classes. Their origin and licenses are not recorded" in text


def test_scores_are_those_of_the_exported_checkpoint(run: Path) -> None:
    (run / "history.csv").write_text(
        "epoch,step,loss,learning_rate,map3,seconds\n0,4,1,0.1,0.25,1\n1,8,1,0.1,0.75,1\n2,12,1,0.1,0.5,1\n"
    )
    for checkpoint, map3 in ((None, "0.5000"), ("best", "0.7500")):
        assert f"held out from training: {map3}." in read_card(run, checkpoint)[1]
    shutil.copy(run / "best.keras", run / "model.keras")  # as after fit --patience
    assert "held out from training: 0.7500." in read_card(run)[1]
    (run / "history.csv").write_text("epoch,step,loss,learning_rate,seconds\n0,4,1,0.1,1\n")
    values, text = read_card(run)
    assert "model-index" not in values
    assert "No validation scores are recorded." in text


def test_licenses_of_fsdkaggle2018_are_printed_and_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export_module, "convert", lambda run, checkpoint, format, target: target.mkdir())
    monkeypatch.setattr(export_module, "max_differences", lambda *_: pd.Series([0.0]))
    caplog.set_level(logging.WARNING)
    export(run, tmp_path / "demo", "saved-model")
    assert caplog.messages == []

    rename_a_training_clip(run, "audio_train/00044347.wav")
    export(run, tmp_path / "fsdkaggle2018", "saved-model")
    (message,) = caplog.messages
    assert "CC0, CC BY, CC BY-NC" in message
    card = (tmp_path / "fsdkaggle2018" / "README.md").read_text()
    assert message in card
    assert 'datasets: ["FSDKaggle2018"]' in card
