"""The files of an export beside the model: metadata, labels and an example program.

model.json   sample rate, preprocessing, classes, training data, origin of the network, versions
labels.txt   one class per line
example.py   tags clips with the runtime, NumPy and soundfile alone

model.json and labels.txt are also embedded in the model.
"""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from dcase2018.data.fsdkaggle2018 import LICENSES, has_fsdkaggle2018_clips
from dcase2018.inference.ensemble import hide_classes
from dcase2018.runs.run import Run


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A model format, and how Python code runs it.

    Attributes
    ----------
    file
        Name of the model file or folder.
    package
        Package that runs the model.
    library
        Name of the format on model hubs.
    modules
        Modules that the export needs, to convert and to check the model.
    embedded
        Where the model file has a copy of labels.txt and model.json.
    imports, load, call
        Code of `example.py`; `call` is an expression of `samples` that returns the scores.
    """

    file: str
    package: str
    library: str
    modules: tuple[str, ...]
    embedded: str
    imports: str
    load: str
    call: str


EXPORT_FORMATS = {
    "onnx": ExportFormat(
        file="model.onnx",
        package="onnxruntime",
        library="onnx",
        modules=("onnx", "onnxruntime", "tf2onnx"),
        embedded="`session.get_modelmeta().custom_metadata_map` has the keys of `model.json`",
        imports="import onnxruntime\nimport soundfile",
        load='session = onnxruntime.InferenceSession(FOLDER / "model.onnx")',
        call='session.run(["scores"], {"samples": samples})[0]',
    ),
    "litert": ExportFormat(
        file="model.tflite",
        package="ai-edge-litert",
        library="litert",
        modules=("ai_edge_litert",),
        embedded="it has TFLite metadata, and `unzip model.tflite` unpacks both files",
        imports="import soundfile\nfrom ai_edge_litert.interpreter import Interpreter",
        load='interpreter = Interpreter(str(FOLDER / "model.tflite"))',
        call='interpreter.get_signature_runner()(samples=samples)["scores"]',
    ),
    "saved-model": ExportFormat(
        file="saved_model",
        package="tensorflow",
        library="tensorflow",
        modules=(),
        embedded="both files are in `saved_model/assets.extra`",
        imports="import soundfile\nimport tensorflow as tf",
        load='model = tf.saved_model.load(str(FOLDER / "saved_model")).signatures["serving_default"]',
        call='model(samples=tf.constant(samples))["scores"].numpy()',
    ),
}


def write_metadata(metadata: Mapping[str, Any], folder: Path) -> None:
    """Write model.json, labels.txt and example.py."""
    (folder / "model.json").write_text(json.dumps(metadata, indent=2) + "\n", "utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in metadata["classes"]), "utf-8")
    template = Template(files(__package__).joinpath("templates", "example.py.txt").read_text("utf-8"))
    example = template.substitute(dataclasses.asdict(EXPORT_FORMATS[metadata["format"]]))
    (folder / "example.py").write_text(example, "utf-8")


def embed_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Embed metadata in a model, in the place that its format has for it (see `ExportFormat.embedded`).

    Parameters
    ----------
    path
        Model file or folder, beside its labels.txt and model.json.
    metadata
        Content of model.json.
    """
    embedded = [path.with_name(name) for name in ("labels.txt", "model.json")]
    if metadata["format"] == "onnx":
        _add_metadata_props(path, metadata)
    elif metadata["format"] == "litert":
        from dcase2018.exporting.tflite_metadata import add_tflite_metadata

        add_tflite_metadata(path, metadata, embedded)
    else:
        (path / "assets.extra").mkdir()
        for file in embedded:
            shutil.copy(file, path / "assets.extra")


def _add_metadata_props(path: Path, metadata: Mapping[str, Any]) -> None:
    import onnx

    model = onnx.load(path)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, path)


def make_metadata(run: Run, checkpoint: int | str | None, format: str) -> dict[str, Any]:
    """Return the content of model.json.

    Raises
    ------
    InputError
        If the run's list of training clips is missing or damaged.
    """
    classes = hide_classes([run])
    packages = ("dcase2018", "keras", "tensorflow", EXPORT_FORMATS[format].package)
    return {
        "format": format,
        "file": EXPORT_FORMATS[format].file,
        "sample_rate": run.feature_config.sample_rate,
        "input": {"name": "samples", "dtype": "float32", "shape": ["n_samples"], "range": [-1, 1]},
        "output": {"name": "scores", "dtype": "float32", "shape": [len(classes)]},
        "preprocessing": _preprocessing(run),
        "classes": classes,
        "training_data": _training_data(run),
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


def _training_data(run: Run) -> dict[str, Any]:
    fnames = [fname for fname, _ in run.training_clips()]
    is_known = has_fsdkaggle2018_clips(fnames)
    return {
        "dataset": "FSDKaggle2018" if is_known else "",
        "clip_licenses": list(LICENSES) if is_known else [],
        "n_clips": len(fnames),
        "clips_per_class": dict(zip(run.classes, run.class_counts, strict=True)),
    }


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
