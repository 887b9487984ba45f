"""What lies in an exported folder beside the model: what it means, an example that runs it, a page.

model.json   sample rate, what is done to a clip, classes, where the network comes from, versions
labels.txt   the classes, a line each
example.py   tags clips, with the runtime, NumPy and soundfile alone
README.md    all this for people
"""

import dataclasses
import hashlib
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd

from dcase2018.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Format:
    """A file for a runtime, and how Python runs it.

    Attributes
    ----------
    file
        The model's file, or folder.
    package
        What has to be installed to run it.
    modules
        What has to be there to make it, and try it.
    imports, load, call
        Lines of the example; `call` is an expression of `samples` whose value is the scores.
    """

    file: str
    package: str
    modules: tuple[str, ...]
    imports: str
    load: str
    call: str


FORMATS = {
    "onnx": Format(
        file="model.onnx",
        package="onnxruntime",
        modules=("onnx", "onnxruntime", "tf2onnx"),
        imports="import onnxruntime\nimport soundfile",
        load='session = onnxruntime.InferenceSession(FOLDER / "model.onnx")',
        call='session.run(["scores"], {"samples": samples})[0]',
    ),
    "litert": Format(
        file="model.tflite",
        package="ai-edge-litert",
        modules=("ai_edge_litert",),
        imports="import soundfile\nfrom ai_edge_litert.interpreter import Interpreter",
        load='interpreter = Interpreter(str(FOLDER / "model.tflite"))',
        call='interpreter.get_signature_runner()(samples=samples)["scores"]',
    ),
    "saved-model": Format(
        file="saved_model",
        package="tensorflow",
        modules=(),
        imports="import soundfile\nimport tensorflow as tf",
        load='model = tf.saved_model.load(str(FOLDER / "saved_model")).signatures["serving_default"]',
        call='model(samples=tf.constant(samples))["scores"].numpy()',
    ),
}

MEANINGS = {
    "softmax": "They are shares that add up to 1: the highest is the class that the clip most likely has.",
    "logistic": "Each is the probability of one class, whatever the others are.",
}


def describe(run: Run, checkpoint: int | str | None, format: str, folder: Path) -> None:
    """Write what the example needs, and the example."""
    about = {
        "format": format,
        "file": FORMATS[format].file,
        "sample_rate": run.feature_config.sample_rate,
        "input": {"name": "samples", "dtype": "float32", "shape": ["n_samples"], "range": [-1, 1]},
        "output": {"name": "scores", "dtype": "float32", "shape": [len(run.classes)]},
        "inside": _inside(run),
        "classes": list(run.classes),
        "run": {
            "network": run.model,
            "checkpoint": checkpoint,
            "sha256": hashlib.sha256(run.model_file(checkpoint).read_bytes()).hexdigest(),
            "training_fingerprint": run.training_fingerprint,
            "validation_fingerprint": run.validation_fingerprint,
            "pretrained_fingerprint": run.pretrained_fingerprint,
            "seed": run.seed,
        },
        "versions": _versions(format),
    }
    (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in run.classes), "utf-8")
    example = _template("example.py").substitute(dataclasses.asdict(FORMATS[format]))
    (folder / "example.py").write_text(example, "utf-8")


def introduce(run: Run, format: str, differences: pd.Series, folder: Path) -> None:
    """Write the folder's page, which tells how far its scores are from those of `predict`, clip by clip."""
    page = _template("README.md").substitute(
        dataclasses.asdict(FORMATS[format]),
        network=run.model,
        n_classes=len(run.classes),
        sample_rate=run.feature_config.sample_rate,
        meaning=MEANINGS[run.hparams.classifier],
        steps="".join(f"- {step}\n" for step in _steps(run)).strip(),
        difference=f"{differences.max():.1g}",
    )
    (folder / "README.md").write_text(page, "utf-8")


def _inside(run: Run) -> dict[str, object]:
    hparams = run.hparams
    return {
        "feature_config": dataclasses.asdict(run.feature_config),
        "example_frames": run.example_shape[0],
        "example_hop_frames": hparams.inference_hop_frames(run.feature_config),
        "short": hparams.pad_mode,
        "classifier": hparams.classifier,
        "mean": hparams.clip_pooling,
    }


def _steps(run: Run) -> list[str]:
    """What is done to samples inside the model, in order, for people."""
    feature_config, hparams = run.feature_config, run.hparams
    steps = []
    if feature_config.trim_db:
        steps.append(f"ends that are {feature_config.trim_db:g} dB below the peak are cut")
    if feature_config.normalize == "peak":
        steps.append("the clip is scaled to a peak of 1")
    hop = f"every {1000 * feature_config.stft_hop_seconds:g} ms"
    if feature_config.feature == "waveform":
        steps.append(f"a frame is {feature_config.n_features} samples")
    else:
        bands = f"{feature_config.mel_bands} log mel bands from {feature_config.mel_min_hz:g} to {feature_config.mel_max_hz:g} Hz"
        steps.append(f"a frame is {bands}, {hop}")
    filled = {"constant": "filled up with silence", "wrap": "repeated"}[hparams.pad_mode]
    length, distance = (
        frames * feature_config.stft_hop_seconds
        for frames in (run.example_shape[0], hparams.inference_hop_frames(feature_config))
    )
    steps.append(
        f"the network scores {length:g} s at a time, every {distance:g} s; a shorter clip is {filled}"
    )
    steps.append(f"a clip's scores are the {hparams.clip_pooling} mean")
    return steps


def _versions(format: str) -> dict[str, str]:
    packages = ("dcase2018", "keras", "tensorflow", FORMATS[format].package)
    return {package: version(package) for package in packages}


def _template(name: str) -> Template:
    return Template(files(__package__).joinpath("templates", f"{name}.txt").read_text("utf-8"))
