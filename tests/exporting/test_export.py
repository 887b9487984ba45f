"""Exported folders, used as other programs use them: by their example and by the code in their README."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import soundfile
from conftest import ROOT, ToyPipeline, list_dir, noise, run_fails, run_ok, write_wav

import dcase2018.exporting.export as export_module
from dcase2018.exporting.bundle import EXPORT_FORMATS
from dcase2018.exporting.conversion import convert, to_litert, to_onnx
from dcase2018.exporting.export import export
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error, InputError

SLOW_FORMATS = [pytest.param(name, marks=pytest.mark.slow) for name in ("litert", "saved-model")]


def make_dummy_export(folder: Path) -> None:
    """Create a folder that looks like an earlier export."""
    folder.mkdir()
    for name in ("model.json", "labels.txt", "example.py", "old"):
        (folder / name).write_text("old")


@pytest.fixture(scope="module")
def exported(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Export the toy run in a format, on first use."""
    root = tmp_path_factory.mktemp("exports")

    def make(format: str) -> Path:
        if not (root / format).exists():
            make_dummy_export(root / format)
            stdout = run_ok("export", toy_pipeline.run, root / format, "--format", format, "--overwrite")
            assert re.fullmatch(rf"{root / format}: within \S+ of predict on 10 clips\n", stdout)
        return root / format

    return make


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips with various formats and lengths."""
    folder = tmp_path_factory.mktemp("clips")
    stereo = np.stack([noise(30000, 1), noise(30000, 2)], axis=1)
    write_wav(folder / "stereo.wav", stereo)
    write_wav(folder / "a name, with more.wav", noise(44100))
    write_wav(folder / "floats.wav", noise(20000, 3), subtype="FLOAT")
    soundfile.write(folder / "other rate.flac", noise(48000, 4), 48000)
    for name in ("clip.ogg", "clip.mp3", "clip.aiff"):
        soundfile.write(folder / name, noise(30000, 6), 44100)
    write_wav(folder / "short.wav", noise(500, 5))
    write_wav(folder / "silence.wav", noise(30000, level=0))
    write_wav(folder / "empty.wav", noise(0))
    return folder


def run_example(folder: Path, *clips: Path, python: Path | str = sys.executable) -> pd.DataFrame:
    """Return the scores that example.py prints: one row per clip, one column per class."""
    command = [python, folder / "example.py", *clips]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(row) == {"fname", "scores"} for row in rows)
    return pd.DataFrame([row["scores"] for row in rows], index=[row["fname"] for row in rows])


def run_code(code: str, folder: Path) -> str:
    """Run Python code in a folder, and return what it prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", *SLOW_FORMATS])
def test_example_prints_the_scores_of_predict(
    exported: Callable[[str], Path], toy_pipeline: ToyPipeline, clips: Path, tmp_path: Path, format: str
) -> None:
    extract(clips, tmp_path / "clips.h5", Run.load(toy_pipeline.run).feature_config)
    for audio, store in (
        (toy_pipeline.data / "audio_test", toy_pipeline.test),
        (clips, tmp_path / "clips.h5"),
    ):
        expected = predict(Ensemble.open([toy_pipeline.run], [Store(store)]))
        scores = run_example(exported(format), *sorted(audio.iterdir()))
        assert list(scores.columns) == list(expected.columns)
        np.testing.assert_allclose(scores.loc[expected.index], expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_folder_has_metadata(exported: Callable[[str], Path], toy_pipeline: ToyPipeline) -> None:
    folder, run = exported("onnx"), Run.load(toy_pipeline.run)
    assert list_dir(folder) == ["README.md", "example.py", "labels.txt", "model.json", "model.onnx"]
    assert (folder / "labels.txt").read_text().splitlines() == list(run.classes)
    metadata = json.loads((folder / "model.json").read_text())
    assert metadata["sample_rate"] == 44100
    assert metadata["classes"] == list(run.classes)
    assert metadata["preprocessing"]["feature_config"] == dataclasses.asdict(run.feature_config)
    assert metadata["run"]["training_fingerprint"] == run.training_fingerprint
    assert len((folder / "example.py").read_text().splitlines()) <= 60
    assert "$" not in (folder / "README.md").read_text()
    embedded = {prop.key: prop.value for prop in onnx.load(folder / "model.onnx").metadata_props}
    assert embedded.pop("format") == "onnx"
    assert embedded.pop("file") == "model.onnx"
    texts = {name: json.loads(value) for name, value in embedded.items()}
    assert texts | {"format": "onnx", "file": "model.onnx"} == metadata


def test_onnx_input_and_output_are_named_and_of_any_length(exported: Callable[[str], Path]) -> None:
    graph = onnx.load(exported("onnx") / "model.onnx").graph
    (samples,), (scores,) = graph.input, graph.output
    assert (samples.name, scores.name) == ("samples", "scores")
    assert [axis.dim_param for axis in samples.type.tensor_type.shape.dim] == ["n_samples"]
    assert [axis.dim_value for axis in scores.type.tensor_type.shape.dim] == [41]


@pytest.mark.parametrize("format", ["onnx", *SLOW_FORMATS])
def test_code_of_the_exported_readme_runs(
    exported: Callable[[str], Path], format: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(exported(format), tmp_path / "moved")
    write_wav(folder / "clip.wav", noise(44100))
    (code,) = python_blocks(folder / "README.md")
    assert run_code(f"{code}\nprint(scores.shape)", folder) == "(41,)\n"


@pytest.mark.slow
def test_code_of_the_export_guide_runs(exported: Callable[[str], Path], tmp_path: Path) -> None:
    blocks = python_blocks(ROOT / "docs" / "export-and-serve.md")
    code, metadata_code = (block for block in blocks if "onnxruntime" in block)
    assert len(list(filter(None, code.splitlines()))) == 6
    shutil.copytree(exported("onnx"), tmp_path / "tagger")
    clip = write_wav(tmp_path / "data" / "demo" / "audio_test" / "01b070d8.wav", noise(44100))
    scores = run_example(tmp_path / "tagger", clip).iloc[0]
    assert run_code(code, tmp_path).strip() == scores.idxmax()
    assert run_code(metadata_code, tmp_path) == "44100 ['Acoustic_guitar', 'Applause', 'Bark']\n"


def test_example_reports_invalid_clips_in_one_line(exported: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    write_wav(tmp_path / "nan.wav", np.array([0.1, np.nan], np.float32), subtype="FLOAT")
    write_wav(tmp_path / "absurd.wav", np.array([0.1, 17600], np.float32), subtype="FLOAT")
    write_wav(tmp_path / "huge.wav", np.full(4000, 1e30, np.float32), subtype="FLOAT")
    write_wav(tmp_path / "antiphase.wav", np.stack([noise(4000), -noise(4000)], axis=1))
    for name in ("text.wav", "nan.wav", "absurd.wav", "huge.wav", "antiphase.wav", "missing.wav"):
        command = [sys.executable, exported("onnx") / "example.py", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"{tmp_path / name}: ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_example_needs_only_the_runtime_numpy_and_soundfile(
    exported: Callable[[str], Path], toy_pipeline: ToyPipeline, clips: Path, tmp_path: Path, format: str
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = [EXPORT_FORMATS[format].package, "numpy", "soundfile"]
    pins = ("--constraint", ROOT / "constraints.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins, *packages], check=True)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not re.search("tensorflow|keras|soxr|dcase2018", listed)

    audio = [*sorted((toy_pipeline.data / "audio_test").iterdir()), clips / "stereo.wav"]
    scores = run_example(exported(format), *audio, python=python)
    pd.testing.assert_frame_equal(scores, run_example(exported(format), *audio), atol=1e-6, rtol=0)

    command = [python, exported(format) / "example.py", clips / "other rate.flac"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("has 48000 Hz instead of 44100 Hz; convert it, or pip install soxr\n")


def test_a_model_with_other_scores_is_not_written(
    exported: Callable[[str], Path],
    toy_pipeline: ToyPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = onnx.load(exported("onnx") / "model.onnx")
    (kernel,) = (weights for weights in iter_weights(model.graph) if list(weights.dims) == [256, 41])
    values = onnx.numpy_helper.to_array(kernel)
    kernel.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.01), kernel.name))
    monkeypatch.setattr(
        export_module, "convert", lambda run, checkpoint, format, target: onnx.save(model, target)
    )
    message = r"from those of predict by 0\.\d+ on '.*\.wav', and at most 0\.0001 is allowed"
    with pytest.raises(Dcase2018Error, match=message):
        export(toy_pipeline.run, tmp_path / "tagger")
    assert list_dir(tmp_path) == []


def iter_weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield all constants of a graph and of its subgraphs."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from [attribute.t] if attribute.HasField("t") else []
        yield from iter_weights(attribute.g)


def test_only_exports_are_replaced_and_only_with_overwrite(
    exported: Callable[[str], Path], toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    assert "old" not in list_dir(exported("onnx"))
    make_dummy_export(tmp_path / "tagger")
    stderr = run_fails(2, "export", toy_pipeline.run, tmp_path / "tagger")
    assert stderr.endswith("tagger has an export; name another folder, or replace it with --overwrite\n")
    stderr = run_fails(2, "export", toy_pipeline.run, toy_pipeline.run, "--overwrite")
    assert stderr.endswith("exists and is not an export; name another folder\n")
    assert (toy_pipeline.run / "model.keras").exists()


def test_export_checks_its_arguments_before_the_work(
    toy_pipeline: ToyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x"
    assert "holds no run" in run_fails(2, "export", tmp_path, out)
    stderr = run_fails(2, "export", toy_pipeline.run, out, "--checkpoint", 7)
    assert "--checkpoint takes the steps" in stderr
    (tmp_path / "half").mkdir()
    run = Run.load(toy_pipeline.run)
    hparams = dataclasses.replace(run.hparams, precision="mixed_float16")
    dataclasses.replace(run, hparams=hparams, path=tmp_path / "half").save()
    shutil.copy(toy_pipeline.run / "model.keras", tmp_path / "half")
    stderr = run_fails(2, "export", tmp_path / "half", out)
    assert "has precision=mixed_float16, which the runtimes do not support" in stderr
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"--format litert needs ai_edge_litert; install with pip install 'dcase2018\[export\]'"
    with pytest.raises(InputError, match=message):
        export(toy_pipeline.run, out, "litert")
    assert list_dir(tmp_path) == ["half"]


@pytest.mark.slow
def test_saved_models_have_the_metadata_as_extra_assets(exported: Callable[[str], Path]) -> None:
    folder = exported("saved-model")
    for name in ("labels.txt", "model.json"):
        copy = folder / "saved_model" / "assets.extra" / name
        assert copy.read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_litert_models_have_no_tensorflow_operations(exported: Callable[[str], Path], tmp_path: Path) -> None:
    import tensorflow as tf
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs((exported("litert") / "model.tflite").read_bytes())
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    assert codes
    assert all(code.CustomCode() is None for code in codes)
    function = tf.function(
        lambda samples: {"scores": tf.math.betainc(samples, samples, samples)},
        input_signature=[tf.TensorSpec([None], tf.float32, name="samples")],
    )
    with pytest.raises(Exception, match=r"'tf\.Betainc' op is neither a custom op nor a flex op"):
        to_litert(function, tmp_path / "model.tflite")
    assert list_dir(tmp_path) == []


@pytest.mark.slow
def test_a_failed_conversion_is_reported_in_one_line(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = Run.load(toy_pipeline.run)
    with pytest.raises(Dcase2018Error, match=r"cannot be converted to onnx: .*missing") as raised:
        convert(run, None, "onnx", tmp_path / "missing" / "model.onnx")
    assert len(str(raised.value).splitlines()) == 1


def test_a_graph_with_other_inputs_raises(tmp_path: Path) -> None:
    import tensorflow as tf

    constant = tf.constant(np.random.default_rng(0).random(1000), tf.float32)  # tf2onnx makes it an input

    def scores(samples: tf.Tensor) -> dict[str, tf.Tensor]:
        add = lambda index, total: (index + 1, total + constant * samples[0])  # noqa: E731
        return {"scores": tf.while_loop(lambda index, _: index < 3, add, (0, tf.zeros(1000)))[1]}

    function = tf.function(scores, input_signature=[tf.TensorSpec([None], tf.float32, name="samples")])
    with pytest.raises(ValueError, match=r"inputs .* instead of samples and scores"):
        to_onnx(function, tmp_path / "model.onnx")
    assert list_dir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_export_works_with_other_keras_backends(
    toy_pipeline: ToyPipeline, tmp_path: Path, backend: str
) -> None:
    pytest.importorskip(backend)
    command = [sys.executable, "-m", "dcase2018", "export", toy_pipeline.run, tmp_path / "tagger"]
    subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, check=True)
