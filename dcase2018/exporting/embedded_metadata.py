"""Embed labels and metadata in an exported model, in the place that its format has for them.

onnx         `metadata_props`: one per key of model.json, as text or as JSON
litert       TFLite metadata, with labels.txt and model.json as associated files
saved-model  labels.txt and model.json in `assets.extra`, the folder for files that the graph does not read
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METADATA_FILES = ("labels.txt", "model.json")


def embed_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Embed metadata in a model.

    Parameters
    ----------
    path
        Model file or folder, beside its labels.txt and model.json.
    metadata
        Content of model.json.
    """
    files = [path.with_name(name) for name in METADATA_FILES]
    if metadata["format"] == "onnx":
        _add_metadata_props(path, metadata)
    elif metadata["format"] == "litert":
        from dcase2018.exporting.tflite_metadata import add_tflite_metadata

        add_tflite_metadata(path, metadata, files)
    else:
        (path / "assets.extra").mkdir()
        for file in files:
            shutil.copy(file, path / "assets.extra")


def _add_metadata_props(path: Path, metadata: Mapping[str, Any]) -> None:
    import onnx

    model = onnx.load(path)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, path)
