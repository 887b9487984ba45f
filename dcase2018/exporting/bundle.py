"""The files of an export beside the model: metadata, labels, an example program, a README.

model.json   sample rate, preprocessing, classes, origin of the network, versions
labels.txt   one class per line
example.py   tags clips with the runtime, NumPy and soundfile alone
README.md    the same for readers
"""

import dataclasses
import hashlib
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from dcase2018.features.levels import SILENCE_DBFS
from dcase2018.runs.run import Run, reported_classes


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A model format, and how Python code runs it.

    Attributes
    ----------
    file
        Name of the model file or folder.
    package
        Package that runs the model.
    modules
        Modules that the export needs, to convert and to check the model.
    imports, load, call
        Code of `example.py`; `call` is an expression of `samples` that returns the scores.
    """

    file: str
    package: str
    modules: tuple[str, ...]
    imports: str
    load: str
    call: str


EXPORT_FORMATS = {
    "onnx": ExportFormat(
        file="model.onnx",
        package="onnxruntime",
        modules=("onnx", "onnxruntime", "tf2onnx"),
        imports="import onnxruntime\nimport soundfile",
        load='session = onnxruntime.InferenceSession(FOLDER / "model.onnx")',
        call='session.run(["scores"], {"samples": samples})[0]',
    ),
    "litert": ExportFormat(
        file="model.tflite",
        package="ai-edge-litert",
        modules=("ai_edge_litert",),
        imports="import soundfile\nfrom ai_edge_litert.interpreter import Interpreter",
        load='interpreter = Interpreter(str(FOLDER / "model.tflite"))',
        call='interpreter.get_signature_runner()(samples=samples)["scores"]',
    ),
    "saved-model": ExportFormat(
        file="saved_model",
        package="tensorflow",
        modules=(),
        imports="import soundfile\nimport tensorflow as tf",
        load='model = tf.saved_model.load(str(FOLDER / "saved_model")).signatures["serving_default"]',
        call='model(samples=tf.constant(samples))["scores"].numpy()',
    ),
}

SCORE_SEMANTICS = {
    "softmax": "The scores add up to 1. The class with the highest score is the most likely one.",
    "logistic": "Each score is the probability of its class, independent of the other classes.",
}


def write_metadata(run: Run, checkpoint: int | str | None, format: str, folder: Path) -> None:
    """Write model.json, labels.txt and example.py."""
    metadata = _metadata(run, checkpoint, format)
    (folder / "model.json").write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in metadata["classes"]), "utf-8")
    example = _template("example.py").substitute(dataclasses.asdict(EXPORT_FORMATS[format]))
    (folder / "example.py").write_text(example, "utf-8")


def write_readme(run: Run, format: str, differences: pd.Series, folder: Path) -> None:
    """Write README.md, with the largest difference from the scores of `predict`."""
    readme = _template("README.md").substitute(
        dataclasses.asdict(EXPORT_FORMATS[format]),
        model=run.model,
        n_classes=len(_reported(run)),
        sample_rate=run.feature_config.sample_rate,
        score_semantics=SCORE_SEMANTICS[run.hparams.classifier],
        steps="".join(f"- {step}\n" for step in _preprocessing_steps(run)).strip(),
        difference=f"{differences.max():.1g}",
    )
    (folder / "README.md").write_text(readme, "utf-8")


def _metadata(run: Run, checkpoint: int | str | None, format: str) -> dict[str, Any]:
    packages = ("dcase2018", "keras", "tensorflow", EXPORT_FORMATS[format].package)
    return {
        "format": format,
        "file": EXPORT_FORMATS[format].file,
        "sample_rate": run.feature_config.sample_rate,
        "input": {"name": "samples", "dtype": "float32", "shape": ["n_samples"], "range": [-1, 1]},
        "output": {"name": "scores", "dtype": "float32", "shape": [len(_reported(run))]},
        "preprocessing": _preprocessing(run),
        "classes": _reported(run),
        "run": {
            "model": run.model,
            "background_classes": list(run.background_classes),
            "checkpoint": checkpoint,
            "sha256": hashlib.sha256(run.model_file(checkpoint).read_bytes()).hexdigest(),
            "training_fingerprint": run.training_fingerprint,
            "validation_fingerprint": run.validation_fingerprint,
            "pretrained_fingerprint": run.pretrained_fingerprint,
            "seed": run.seed,
        },
        "versions": {package: version(package) for package in packages},
    }


def _reported(run: Run) -> list[str]:
    """Return the classes that the model scores: all but the background classes."""
    return reported_classes(run.classes, run.background_classes, "background_classes")


def _preprocessing(run: Run) -> dict[str, object]:
    hparams = run.hparams
    return {
        "feature_config": dataclasses.asdict(run.feature_config),
        "example_frames": run.example_shape[0],
        "inference_hop_frames": hparams.inference_hop_frames(run.feature_config),
        "pad_mode": hparams.pad_mode,
        "classifier": hparams.classifier,
        "clip_pooling": hparams.clip_pooling,
    }


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
        steps.append(f"A frame is {bands}, every {1000 * config.stft_hop_seconds:g} ms.")
    window, hop = (
        frames * config.stft_hop_seconds
        for frames in (run.example_shape[0], hparams.inference_hop_frames(config))
    )
    padded = {"constant": "padded with silence", "wrap": "repeated"}[hparams.pad_mode]
    steps.append(f"The network scores windows of {window:g} s, every {hop:g} s. A shorter clip is {padded}.")
    pooling = hparams.clip_pooling.replace("_", " ")
    steps.append(f"The scores of a clip are the {pooling} over its windows.")
    steps.append(
        f"A silent clip gets the class frequencies of the training set. In all its hops of"
        f" {1000 * config.stft_hop_seconds:g} ms the standard deviation is below {SILENCE_DBFS:g} dBFS."
    )
    return steps


def _template(name: str) -> Template:
    return Template(files(__package__).joinpath("templates", f"{name}.txt").read_text("utf-8"))
