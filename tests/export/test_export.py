"""Exported folders, as another program uses them: by their example, and by the lines that the pages show."""

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

import dcase2018.export.export as exporting
from dcase2018.export.bundle import FORMATS
from dcase2018.export.conversion import SignatureMismatch, convert, to_litert, to_onnx
from dcase2018.export.export import export
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error, InputError

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("litert", "saved-model")]


def pretend_export(folder: Path) -> None:
    """A folder that looks like an earlier export."""
    folder.mkdir()
    for name in ("model.json", "labels.txt", "example.py", "old"):
        (folder / name).write_text("old")


@pytest.fixture(scope="module")
def exported(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The toy run's export in a format, made when it is first asked for."""
    root = tmp_path_factory.mktemp("exports")

    def make(format: str) -> Path:
        if not (root / format).exists():
            pretend_export(root / format)
            said = run_ok("export", toy_pipeline.run, root / format, "--format", format, "--force")
            assert re.fullmatch(rf"{root / format}: within \S+ of predict on 8 clips\n", said)
        return root / format

    return make


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all kinds, in a folder."""
    folder = tmp_path_factory.mktemp("clips")
    stereo = np.stack([noise(30000, 1), noise(30000, 2)], axis=1)
    write_wav(folder / "stereo.wav", stereo)
    write_wav(folder / "a name, with more.wav", noise(44100))
    write_wav(folder / "floats.wav", noise(20000, 3), subtype="FLOAT")
    soundfile.write(folder / "other rate.flac", noise(48000, 4), 48000)
    write_wav(folder / "short.wav", noise(500, 5))
    write_wav(folder / "none.wav", noise(0))
    return folder


def example(folder: Path, *clips: Path, python: Path | str = sys.executable) -> pd.DataFrame:
    """What the example prints: a row a clip, a column a class."""
    command = [python, folder / "example.py", *clips]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"fname", "scores"} for line in lines)
    return pd.DataFrame([line["scores"] for line in lines], index=[line["fname"] for line in lines])


@pytest.mark.parametrize("format", ["onnx", *SLOW])
def test_the_example_prints_the_scores_of_predict(
    exported: Callable[[str], Path], toy_pipeline: ToyPipeline, clips: Path, tmp_path: Path, format: str
) -> None:
    extract(clips, tmp_path / "clips.h5", Run.load(toy_pipeline.run).feature_config)
    for audio, store in (
        (toy_pipeline.data / "audio_test", toy_pipeline.test),
        (clips, tmp_path / "clips.h5"),
    ):
        expected = predict(Ensemble.open([toy_pipeline.run], [Store(store)]))
        told = example(exported(format), *sorted(audio.iterdir()))
        assert list(told.columns) == list(expected.columns)
        np.testing.assert_allclose(told.loc[expected.index], expected, atol=1e-4, rtol=0)


def test_the_folder_says_what_it_is(exported: Callable[[str], Path], toy_pipeline: ToyPipeline) -> None:
    folder, run = exported("onnx"), Run.load(toy_pipeline.run)
    assert list_dir(folder) == ["README.md", "example.py", "labels.txt", "model.json", "model.onnx"]
    assert (folder / "labels.txt").read_text().splitlines() == list(run.classes)
    about = json.loads((folder / "model.json").read_text())
    assert about["sample_rate"] == 44100
    assert about["classes"] == list(run.classes)
    assert about["inside"]["feature_config"] == dataclasses.asdict(run.feature_config)
    assert about["run"]["training_fingerprint"] == run.training_fingerprint
    assert len((folder / "example.py").read_text().splitlines()) <= 60
    assert "$" not in (folder / "README.md").read_text()


def test_inputs_and_outputs_have_their_names_and_any_length(exported: Callable[[str], Path]) -> None:
    graph = onnx.load(exported("onnx") / "model.onnx").graph
    (given,), (told,) = graph.input, graph.output
    assert (given.name, told.name) == ("samples", "scores")
    assert [side.dim_param for side in given.type.tensor_type.shape.dim] == ["n_samples"]
    assert [side.dim_value for side in told.type.tensor_type.shape.dim] == [41]


@pytest.mark.parametrize("format", ["onnx", *SLOW])
def test_the_lines_of_its_page_run(exported: Callable[[str], Path], format: str, tmp_path: Path) -> None:
    folder = shutil.copytree(exported(format), tmp_path / "moved")
    write_wav(folder / "clip.wav", noise(44100))
    (program,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    program += "\nprint(scores.shape)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stdout == "(41,)\n"


def test_the_lines_of_the_readme_run(exported: Callable[[str], Path], tmp_path: Path) -> None:
    program = next(
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
        if "onnxruntime" in block
    )
    assert len(list(filter(None, program.splitlines()))) == 5
    shutil.copytree(exported("onnx"), tmp_path / "tagger")
    write_wav(tmp_path / "clip.wav", noise(44100))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    told = example(tmp_path / "tagger", tmp_path / "clip.wav").iloc[0]
    assert done.stdout.strip() == told.idxmax()


def test_bad_clips_are_told_in_one_line(exported: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    write_wav(tmp_path / "nan.wav", np.array([0.1, np.nan], np.float32), subtype="FLOAT")
    for name in ("text.wav", "nan.wav", "missing.wav"):
        command = [sys.executable, exported("onnx") / "example.py", tmp_path / name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"{tmp_path / name}: ")
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "litert"])
def test_the_example_needs_the_runtime_numpy_and_soundfile_alone(
    exported: Callable[[str], Path], toy_pipeline: ToyPipeline, clips: Path, tmp_path: Path, format: str
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    packages = [FORMATS[format].package, "numpy", "soundfile"]
    pins = ("--constraint", ROOT / "constraints.txt")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins, *packages], check=True)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not re.search("tensorflow|keras|soxr|dcase2018", listed)

    audio = sorted((toy_pipeline.data / "audio_test").iterdir())
    told = example(exported(format), *audio, clips / "stereo.wav", python=python)
    here = example(exported(format), *audio, clips / "stereo.wav")
    pd.testing.assert_frame_equal(told, here, atol=1e-6, rtol=0)

    command = [python, exported(format) / "example.py", clips / "other rate.flac"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("it has 48000 Hz, not 44100; convert it, or pip install soxr\n")


def test_a_model_that_says_something_else_is_not_published(
    exported: Callable[[str], Path],
    toy_pipeline: ToyPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = onnx.load(exported("onnx") / "model.onnx")
    (kernel,) = (weights for weights in weights_of(model.graph) if list(weights.dims) == [256, 41])
    values = onnx.numpy_helper.to_array(kernel)
    kernel.CopyFrom(onnx.numpy_helper.from_array(values * np.float32(1.01), kernel.name))
    monkeypatch.setattr(
        exporting, "convert", lambda run, checkpoint, format, target: onnx.save(model, target)
    )
    with pytest.raises(
        Dcase2018Error, match=r"its scores are 0\.\d+ away on '.*\.wav', where 0\.0001 is allowed"
    ):
        export(toy_pipeline.run, tmp_path / "tagger")
    assert list_dir(tmp_path) == []


def weights_of(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All constants of a graph, and of those inside it."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from [attribute.t] if attribute.HasField("t") else []
        yield from weights_of(attribute.g)


def test_a_folder_is_replaced_only_if_it_is_an_export_and_on_demand(
    exported: Callable[[str], Path], toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    assert "old" not in list_dir(exported("onnx"))  # which replaced one
    pretend_export(tmp_path / "tagger")
    said = run_fails(2, "export", toy_pipeline.run, tmp_path / "tagger")
    assert said.endswith("tagger holds an export; name another folder, or replace it with --force\n")
    said = run_fails(2, "export", toy_pipeline.run, toy_pipeline.run, "--force")
    assert said.endswith("exists and is no export; name another folder\n")
    assert (toy_pipeline.run / "model.keras").exists()


def test_what_cannot_be_exported_is_refused_before_the_work(
    toy_pipeline: ToyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "holds no run" in run_fails(2, "export", tmp_path, tmp_path / "x")
    assert "--checkpoint takes the steps" in run_fails(
        2, "export", toy_pipeline.run, tmp_path / "x", "--checkpoint", 7
    )
    (tmp_path / "half").mkdir()
    run = Run.load(toy_pipeline.run)
    hparams = dataclasses.replace(run.hparams, precision="mixed_float16")
    dataclasses.replace(run, hparams=hparams, path=tmp_path / "half").save()
    shutil.copy(toy_pipeline.run / "model.keras", tmp_path / "half")
    assert "computes in halves (precision=mixed_float16)" in run_fails(
        2, "export", tmp_path / "half", tmp_path / "x"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"--format litert needs ai_edge_litert; pip install 'dcase2018\[export\]'"
    ):
        export(toy_pipeline.run, tmp_path / "x", "litert")
    assert list_dir(tmp_path) == ["half"]


@pytest.mark.slow
def test_litert_gets_no_operation_of_tensorflows(exported: Callable[[str], Path], tmp_path: Path) -> None:
    import tensorflow as tf
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs((exported("litert") / "model.tflite").read_bytes())
    codes = [model.OperatorCodes(number) for number in range(model.OperatorCodesLength())]
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
def test_a_conversion_that_fails_is_told_in_one_line(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = Run.load(toy_pipeline.run)
    with pytest.raises(Dcase2018Error, match=r"cannot be converted to onnx: .*missing") as told:
        convert(run, None, "onnx", tmp_path / "missing" / "model.onnx")
    assert len(str(told.value).splitlines()) == 1


def test_a_graph_with_other_inputs_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    lost = tf.constant(
        np.random.default_rng(0).random(1000), tf.float32
    )  # of a kind that tf2onnx makes an input

    def scores(samples: tf.Tensor) -> dict[str, tf.Tensor]:
        add = lambda number, total: (number + 1, total + lost * samples[0])  # noqa: E731
        return {"scores": tf.while_loop(lambda number, _: number < 3, add, (0, tf.zeros(1000)))[1]}

    function = tf.function(scores, input_signature=[tf.TensorSpec([None], tf.float32, name="samples")])
    with pytest.raises(SignatureMismatch, match=r"inputs .* instead of samples and scores"):
        to_onnx(function, tmp_path / "model.onnx")
    assert list_dir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_backend_does_not_matter(toy_pipeline: ToyPipeline, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    command = [sys.executable, "-m", "dcase2018", "export", toy_pipeline.run, tmp_path / "tagger"]
    subprocess.run(command, env=os.environ | {"KERAS_BACKEND": backend}, check=True)
