"""TFLite metadata: a table within a model that describes its tensors and names the files that belong to it.

The table follows TensorFlow's `metadata_schema.fbs`. The files are a zip archive at the end of the model, so
`unzip model.tflite` unpacks them.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import Int8Flags, Uint8Flags, Uint32Flags

METADATA_NAME = b"TFLITE_METADATA"
MODEL_IDENTIFIER, METADATA_IDENTIFIER = b"TFL3", b"M001"
PARSER_VERSION = "1.3.0"  # the first with properties of audio

# Values of the schema's union ContentProperties and enum AssociatedFileType.
AUDIO_PROPERTIES = 4
DESCRIPTIONS, TENSOR_AXIS_LABELS = 1, 2


def add_tflite_metadata(path: Path, metadata: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Add TFLite metadata and files to a model.

    Parameters
    ----------
    path
        Model file.
    metadata
        Content of model.json.
    files
        labels.txt and model.json.
    """
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    model.buffers.append(schema.BufferT(data=np.frombuffer(model_metadata(metadata), np.uint8)))
    entry = schema.MetadataT(name=METADATA_NAME, buffer=len(model.buffers) - 1)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    path.write_bytes(builder.Output())
    with zipfile.ZipFile(path, "a") as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())  # without the time of the export


def model_metadata(metadata: Mapping[str, Any]) -> bytes:
    """Return the table `ModelMetadata` for the content of model.json, serialized."""
    writer = _TableWriter()
    rate, n_classes = metadata["sample_rate"], len(metadata["classes"])
    audio = writer.table({}, {0: (Uint32Flags, rate), 1: (Uint32Flags, 1)})  # 1 channel
    content = writer.table({1: audio}, {0: (Uint8Flags, AUDIO_PROPERTIES)})
    meaning = f"A clip of any length: float32, (n_samples,), in [-1, 1], mono, {rate} Hz"
    samples = writer.table({**writer.texts(metadata["input"]["name"], meaning), 3: content})
    labels = writer.file("labels.txt", "One class per line, in the order of the scores", TENSOR_AXIS_LABELS)
    meaning = f"One score per class: float32, ({n_classes},)"
    scores = writer.table({**writer.texts(metadata["output"]["name"], meaning), 6: writer.vector([labels])})
    subgraph = writer.table({2: writer.vector([samples]), 3: writer.vector([scores])})
    details = writer.file("model.json", "Preprocessing, classes, origin of the network", DESCRIPTIONS)
    names = writer.texts("audio tagger", f"Scores of {n_classes} classes from the samples of a clip")
    fields = {3: writer.vector([subgraph]), 6: writer.vector([details]), 7: writer.text(PARSER_VERSION)}
    return writer.finish(writer.table({**names, **fields}))


class _TableWriter:
    """Writes tables of the schema: methods return offsets, and fields are numbered in the schema's order."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(0)

    def text(self, value: str) -> int:
        return self.builder.CreateString(value)

    def texts(self, name: str, description: str) -> dict[int, int]:
        """Write the first two fields of all tables."""
        return {0: self.text(name), 1: self.text(description)}

    def table(self, offsets: Mapping[int, int], numbers: Mapping[int, tuple[Any, int]] | None = None) -> int:
        """Write a table from offsets by field, and from types and numbers by field."""
        numbers = numbers or {}
        self.builder.StartObject(max([*offsets, *numbers]) + 1)
        for field, offset in offsets.items():
            self.builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, (flags, number) in numbers.items():
            self.builder.PrependSlot(flags, field, number, 0)
        return self.builder.EndObject()

    def vector(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return self.builder.EndVector()

    def file(self, name: str, description: str, kind: int) -> int:
        """Write a table `AssociatedFile`."""
        return self.table(self.texts(name, description), {2: (Int8Flags, kind)})

    def finish(self, table: int) -> bytes:
        self.builder.Finish(table, METADATA_IDENTIFIER)
        return bytes(self.builder.Output())
