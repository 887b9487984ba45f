"""The README.md of an export: a model card, whose YAML front matter model hubs read."""

import dataclasses
import filecmp
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

import pandas as pd

from dcase2018.data.fsdkaggle2018 import LICENSES
from dcase2018.exporting.bundle import EXPORT_FORMATS
from dcase2018.features.levels import SILENCE_DBFS
from dcase2018.runs.run import Run

SCORE_SEMANTICS = {
    "softmax": "The scores add up to 1. The class with the highest score is the most likely one.",
    "logistic": "Each score is the probability of its class, independent of the other classes.",
}

FSDKAGGLE2018_NOTE = (
    f"The training clips are from FSDKaggle2018, and each has one of the licenses {', '.join(LICENSES)}."
    " CC BY requires credit to the author of the clip; CC BY-NC forbids commercial use."
    " The column license of train_post_competition.csv lists them."
)


def render_model_card(
    run: Run, checkpoint: int | str | None, metadata: Mapping[str, Any], differences: pd.Series
) -> str:
    """Render the model card of an export.

    Parameters
    ----------
    metadata
        Content of model.json.
    differences
        Largest difference from the scores of `predict`, by test clip.
    """
    map3 = validation_map3(run, checkpoint)
    template = files(__package__).joinpath("templates", "README.md.txt").read_text("utf-8")
    return Template(template).substitute(
        dataclasses.asdict(EXPORT_FORMATS[metadata["format"]]),
        front_matter=_front_matter(run, metadata, map3),
        model=run.model,
        n_classes=len(metadata["classes"]),
        sample_rate=metadata["sample_rate"],
        score_semantics=SCORE_SEMANTICS[run.hparams.classifier],
        steps="".join(f"- {step}\n" for step in _preprocessing_steps(run)).strip(),
        difference=f"{differences.max():.1g}",
        data=_data(metadata),
        scores=_scores(map3),
        limits=_limits(run),
    )


def validation_map3(run: Run, checkpoint: int | str | None) -> float | None:
    """Return the validation MAP@3 of the exported network; None without validation clips.

    Training with `--patience` ends with a copy of best.keras as the trained network.
    """
    epochs = [epoch for epoch in run.history() if "map3" in epoch]
    best = run.path / "best.keras"
    if best.exists() and filecmp.cmp(run.model_file(checkpoint), best, shallow=False):
        return max((epoch["map3"] for epoch in epochs), default=None)
    if checkpoint is not None:
        epochs = [epoch for epoch in epochs if epoch["step"] == int(checkpoint)]
    return epochs[-1]["map3"] if epochs else None


def _front_matter(run: Run, metadata: Mapping[str, Any], map3: float | None) -> str:
    """Return YAML, one key per line; the values are JSON, which YAML contains."""
    dataset = metadata["training_data"]["dataset"]
    values: dict[str, Any] = {
        "license": "unknown",
        "library_name": EXPORT_FORMATS[metadata["format"]].library,
        "pipeline_tag": "audio-classification",
        "tags": ["audio-tagging", "dcase2018"],
        "metrics": ["map_at_3"],
    }
    if dataset:
        values["datasets"] = [dataset]
    if map3 is not None:
        name = f"{dataset}, held-out clips" if dataset else "held-out clips"
        clips = {"type": "validation", "name": name}
        metric = {"type": "map_at_3", "name": "MAP@3", "value": round(map3, 4)}
        result = {"task": {"type": "audio-classification"}, "dataset": clips, "metrics": [metric]}
        values["model-index"] = [{"name": run.model, "results": [result]}]
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in values.items())


def _data(metadata: Mapping[str, Any]) -> str:
    data = metadata["training_data"]
    n_clips = (
        f"The network was trained on {data['n_clips']:,} clips of {len(data['clips_per_class'])} classes."
    )
    note = (
        FSDKAGGLE2018_NOTE
        if data["dataset"]
        else "Their origin and licenses are not recorded; add them here."
    )
    names = [name.replace("|", "\\|") for name in data["clips_per_class"]]
    counts = "".join(
        f"| `{name}` | {count} |\n"
        for name, count in zip(names, data["clips_per_class"].values(), strict=True)
    )
    return f"{n_clips} {note}\n\n| class | training clips |\n|---|---|\n{counts}".strip()


def _scores(map3: float | None) -> str:
    hint = "`dcase2018 evaluate` scores the run on test clips, with intervals; add its table here."
    if map3 is None:
        return f"No validation scores are recorded. {hint}"
    return f"MAP@3 on validation clips, which were held out from training: {map3:.4f}. {hint}"


def _limits(run: Run) -> str:
    if run.hparams.classifier == "softmax":
        unknown = "A clip of none of the classes still gets scores that add up to 1"
    else:
        unknown = "A clip of none of the classes may still get high scores"
    return f"{unknown}: the model has no class for unknown sounds."


def _preprocessing_steps(run: Run) -> list[str]:
    """Return sentences that describe the model's steps from samples to scores."""
    config, hparams = run.feature_config, run.hparams
    steps = []
    if config.depends_on_levels:
        steps.append("The constant offset is removed: the median over the means of all hops.")
    if config.trim_db:
        steps.append(f"Ends more than {config.trim_db:g} dB below the peak are trimmed.")
    if config.normalize == "peak":
        steps.append("The clip is scaled to a peak of 1.")
    if config.feature == "waveform":
        steps.append(f"A frame is {config.n_features} samples.")
    else:
        bands = f"{config.mel_bands} log mel bands from {config.mel_min_hz:g} to {config.mel_max_hz:g} Hz"
        steps.append(f"A frame is {bands}, every {1000 * config.frame_hop_seconds:g} ms.")
    window, hop = (
        frames * config.frame_hop_seconds
        for frames in (run.example_shape[0], hparams.inference_hop_frames(config))
    )
    padded = {"constant": "padded with silence", "wrap": "repeated"}[hparams.pad_mode]
    steps.append(f"The network scores windows of {window:g} s, every {hop:g} s. A shorter clip is {padded}.")
    pooling = hparams.clip_pooling.replace("_", " ")
    steps.append(f"The scores of a clip are the {pooling} over its windows.")
    steps.append(
        f"A silent clip gets the class frequencies of the training set. In all its hops of"
        f" {1000 * config.frame_hop_seconds:g} ms the standard deviation is below {SILENCE_DBFS:g} dBFS."
    )
    return steps
