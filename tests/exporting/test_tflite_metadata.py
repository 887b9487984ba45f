"""TFLite metadata, read with the field numbers of TensorFlow's `metadata_schema.fbs`."""

import zipfile
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import Int8Flags, Uint8Flags, Uint32Flags
from flatbuffers.table import Table

from dcase2018.exporting.tflite_metadata import add_tflite_metadata, model_metadata

METADATA = {
    "sample_rate": 32000,
    "input": {"name": "samples"},
    "output": {"name": "scores"},
    "classes": ["Bark", "Meow"],
}


def root(content: bytes) -> Table:
    return Table(content, flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0))


def offset(table: Table, field: int) -> int:
    """Return the position of a field that the table has."""
    position = table.Offset(4 + 2 * field)
    assert position
    return position


def text(table: Table, field: int) -> str:
    return table.String(table.Pos + offset(table, field)).decode()


def child(table: Table, field: int) -> Table:
    return Table(table.Bytes, table.Indirect(table.Pos + offset(table, field)))


def only_item(table: Table, field: int) -> Table:
    """Return the table of a vector that has one."""
    assert table.VectorLen(offset(table, field)) == 1
    return Table(table.Bytes, table.Indirect(table.Vector(offset(table, field))))


def number(table: Table, field: int, flags: type) -> int:
    return table.Get(flags, table.Pos + offset(table, field))


def test_metadata_has_tensors_sample_rate_and_files() -> None:
    content = model_metadata(METADATA)
    assert content[4:8] == b"M001"
    model = root(content)
    assert text(model, 7) == "1.3.0"
    details = only_item(model, 6)
    assert (text(details, 0), number(details, 2, Int8Flags)) == ("model.json", 1)  # DESCRIPTIONS
    subgraph = only_item(model, 3)

    samples = only_item(subgraph, 2)
    assert text(samples, 0) == "samples"
    assert "in [-1, 1], mono, 32000 Hz" in text(samples, 1)
    properties = child(samples, 3)
    assert number(properties, 0, Uint8Flags) == 4  # AudioProperties
    audio = child(properties, 1)
    assert [number(audio, field, Uint32Flags) for field in (0, 1)] == [32000, 1]

    scores = only_item(subgraph, 3)
    assert text(scores, 0) == "scores"
    labels = only_item(scores, 6)
    assert (text(labels, 0), number(labels, 2, Int8Flags)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS


def test_metadata_is_added_to_a_model_and_its_files_can_be_unzipped(tmp_path: Path) -> None:
    model = schema.ModelT(version=3, description="a model", buffers=[schema.BufferT()])
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "model.tflite"
    path.write_bytes(builder.Output())
    (tmp_path / "labels.txt").write_text("Bark\nMeow\n")

    add_tflite_metadata(path, METADATA, [tmp_path / "labels.txt"])
    content = path.read_bytes()
    added = schema.Model.GetRootAs(content)
    assert (added.Version(), added.Description(), content[4:8]) == (3, b"a model", b"TFL3")
    assert (added.MetadataLength(), added.Metadata(0).Name()) == (1, b"TFLITE_METADATA")
    buffer = added.Buffers(added.Metadata(0).Buffer())
    assert buffer.DataAsNumpy().tobytes() == model_metadata(METADATA)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt"]
        assert archive.read("labels.txt") == b"Bark\nMeow\n"
