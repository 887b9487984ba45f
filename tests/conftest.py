"""Shared helpers and fixtures: commands in child processes, and a toy corpus that went through them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import pytest
import soundfile

from dcase2018.data.audio import AudioReader
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.extraction import extract
from dcase2018.features.frontend import FrontEnd, frame_stream
from dcase2018.features.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as PlaywrightPage

    from dcase2018.models.hparams import Preset

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "label_files"
BASELINE = FeatureConfig()

# The same examples in every run, and no deadline: a loaded machine would exceed it.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None)
hypothesis.settings.load_profile("deterministic")

for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # tests run make as a user does, not as a child of make
    os.environ.pop(name, None)

# The 41 classes of the challenge, in the order of its web page.
CLASSES = [
    "Acoustic_guitar", "Applause", "Bark", "Bass_drum", "Burping_or_eructation", "Bus", "Cello",
    "Chime", "Clarinet", "Computer_keyboard", "Cough", "Cowbell", "Double_bass", "Drawer_open_or_close",
    "Electric_piano", "Fart", "Finger_snapping", "Fireworks", "Flute", "Glockenspiel", "Gong",
    "Gunshot_or_gunfire", "Harmonica", "Hi-hat", "Keys_jangling", "Knock", "Laughter", "Meow",
    "Microwave_oven", "Oboe", "Saxophone", "Scissors", "Shatter", "Snare_drum", "Squeak", "Tambourine",
    "Tearing", "Telephone", "Trumpet", "Violin_or_fiddle", "Writing",
]  # fmt: skip


def dcase(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of dcase2018 in a process of its own."""
    command = [sys.executable, "-m", "dcase2018", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def run_ok(*args: object) -> str:
    """Run a command that must succeed; return its standard output."""
    done = dcase(*args)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_fails(code: int, *args: object) -> str:
    """Run a command that must fail with `code` and without a traceback; return its standard error."""
    done = dcase(*args)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


def noise(n_samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray, rate: int = 44100, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def frames_of_clip(front_end: FrontEnd, clip: AudioReader) -> np.ndarray:
    return join_frames(front_end, front_end.iter_frames(clip))


def frames_of_samples(front_end: FrontEnd, samples: np.ndarray) -> np.ndarray:
    """Compute the frames of samples in [-1, 1], without trimming and normalization."""
    config = front_end.feature_config
    windows = frame_stream([samples], config.frame_length, config.hop_length)
    return join_frames(front_end, (front_end.transform(batch, 1.0) for batch in windows))


def join_frames(front_end: FrontEnd, batches: Iterable[np.ndarray]) -> np.ndarray:
    config = front_end.feature_config
    return np.concatenate([np.empty((0, config.n_features), config.storage_dtype), *batches])


def list_dir(folder: Path) -> list[str]:
    """Return the names of a folder's entries, sorted."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of clips: with many examples, one, less than one, less than an STFT window, and no samples."""
    folder = tmp_path / "clips"
    for name, n_samples in (("a", 44100), ("b", 13000), ("c", 5000), ("d", 700), ("e", 0)):
        write_wav(folder / f"{name}.wav", noise(n_samples, seed=ord(name)))
    return folder


@pytest.fixture
def store(clips: Path, tmp_path: Path) -> Store:
    extract(clips, tmp_path / "clips.h5", BASELINE)
    return Store(tmp_path / "clips.h5")


class BrowserPage:
    """A page in the system's Chromium, with its requests and errors.

    Attributes
    ----------
    requests
        Addresses that the page requested.
    failures
        Failed requests, errors and warnings on the console, and exceptions.
    """

    def __init__(self, page: "PlaywrightPage") -> None:
        self.page = page
        self.requests: list[str] = []
        self.failures: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.failures.append(f"{request.url}: {request.failure}"))
        page.on(
            "response",
            lambda response: response.ok or self.failures.append(f"{response.url}: {response.status}"),
        )
        page.on("console", lambda message: self._log_console(message.type, message.text))
        page.on("pageerror", lambda error: self.failures.append(str(error)))

    def _log_console(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.failures.append(text)


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """The system's Chromium, for tests that are marked `browser`."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert path, "no Chromium is installed (Debian: apt-get install chromium)"
    flags = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: "Browser") -> "Iterator[Callable[..., BrowserPage]]":
    """Open an address in a browser context of its own.

    The settings are those of Playwright's contexts, such as `offline`, `viewport` and `color_scheme`.
    """
    contexts = []

    def open_page(address: str, **settings: Any) -> BrowserPage:
        contexts.append(chromium.new_context(**settings))
        open_page = BrowserPage(contexts[-1].new_page())
        open_page.page.goto(address)
        return open_page

    yield open_page
    for context in contexts:
        context.close()


class ToyPipeline:
    """Paths of a small corpus and of the stores and the run made of it."""

    def __init__(self, root: Path) -> None:
        self.data = root / "data"
        self.train, self.test, self.run = root / "train.h5", root / "test.h5", root / "run"
        self.labels, self.test_labels = self.data / "train.csv", self.data / "test_post_competition.csv"
        self.sample = self.data / "sample_submission.csv"
        splits = root / "splits"
        self.fit_labels, self.validation = splits / "train.csv", splits / "validation.csv"


@pytest.fixture(scope="session")
def toy_pipeline(tmp_path_factory: pytest.TempPathFactory) -> ToyPipeline:
    toy_pipeline = ToyPipeline(tmp_path_factory.mktemp("toy"))
    run_ok("synthesize", toy_pipeline.data, "--train-per-class", 6, "--test-per-class", 2, "--seed", 1)
    run_ok("extract", toy_pipeline.data / "audio_train", toy_pipeline.train)
    run_ok("extract", toy_pipeline.data / "audio_test", toy_pipeline.test)
    run_ok("split", toy_pipeline.labels, toy_pipeline.fit_labels.parent)
    options = ("--preset", "quick", "--epochs", 5, "--save-every", 5, "--keep-checkpoints", 3)
    inputs = (toy_pipeline.train, toy_pipeline.fit_labels)
    run_ok("fit", *inputs, toy_pipeline.run, *options, "--validation", toy_pipeline.validation)
    return toy_pipeline


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three class folders of 20 clips each: `white noise`, `high` tones and `low` tones."""
    folder = tmp_path_factory.mktemp("own") / "sounds"
    seconds = np.arange(22050) / 44100
    for name, hz in (("white noise", 0), ("high", 3000), ("low", 300)):
        for clip in range(20):
            tone = 0.3 * np.sin(2 * np.pi * (hz + 5 * clip) * seconds)
            samples = tone * bool(hz) + noise(22050, clip, 0.1 if not hz else 0.01)
            (folder / name).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / name / f"{clip}.wav", samples, 44100, subtype="PCM_16")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout whose virtual environment is the one that runs the tests."""
    folder = tmp_path / "project"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "dcase2018").symlink_to(Path(sys.executable).with_name("dcase2018"))
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    for extra in ("", "-export"):
        (folder / ".venv" / f".installed{extra}").touch()
    return folder


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of clips: long, short, empty, silent, stereo at 48 kHz, with low-level ends, and FLAC."""
    folder = tmp_path_factory.mktemp("recordings")
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(44100 * 3) / 44100)
    write_wav(folder / "long.wav", noise(44100 * 20) * np.linspace(0.1, 1, 44100 * 20))
    write_wav(folder / "short.wav", noise(700))
    write_wav(folder / "one.wav", noise(44100))
    write_wav(folder / "empty.wav", np.zeros(0))
    write_wav(folder / "silence.wav", np.zeros(44100))
    write_wav(folder / "stereo.wav", noise(2 * 48000 * 5).reshape(-1, 2), 48000)
    write_wav(folder / "ends.wav", np.concatenate([tone * 1e-4, tone, tone * 1e-4]), subtype="FLOAT")
    soundfile.write(folder / "tone.flac", tone, 44100)
    return folder


@pytest.fixture(scope="session")
def stores(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Stores of the recordings by two feature configs that differ in every important field."""
    folder = tmp_path_factory.mktemp("stores")
    for name in ("logmel96", "baseline"):
        extract(recordings, folder / f"{name}.h5", FEATURE_CONFIGS[name])
    return {name: Store(folder / f"{name}.h5") for name in ("logmel96", "baseline")}


@pytest.fixture(scope="session")
def runs(stores: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run for each feature config, with three classes and random weights."""
    from dcase2018.models.hparams import PRESETS, Preset

    folder = tmp_path_factory.mktemp("runs")
    compact = replace(PRESETS["compact"].hparams, normalization="none")  # windows of 1.6 s, not of 0.25 s
    for seed, (name, hparams) in enumerate((("logmel96", compact), ("baseline", PRESETS["quick"].hparams))):
        make_run(folder / name, Preset("mlp", hparams, 1), stores[name], seed)
    return {name: folder / name for name in stores}


def make_run(path: Path, preset: "Preset", store: Store, seed: int) -> None:
    """Write a run whose model has random weights, large enough for its scores to depend on its input."""
    import pandas as pd

    from dcase2018.models.architectures import build
    from dcase2018.runs.model_io import save_model
    from dcase2018.training.experiment import Experiment

    fnames = [store.fnames[row] for row in np.flatnonzero(store.lengths)]
    labels = pd.DataFrame({"fname": fnames, "label": [f"c{i % 3}" for i in range(len(fnames))]}, dtype=object)
    experiment = Experiment.create(path, preset, store, labels, seed=seed)
    run = experiment.run
    path.mkdir(parents=True)
    run.save()
    run.save_training_clips(experiment.training_clip_keys())
    model = build(preset.model, run.example_shape, len(run.classes), preset.hparams)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5 / np.sqrt(weight.shape[0]), weight.shape))
    save_model(model, path / "model.keras")


class Server:
    """`serve` or `review` in a process of its own, with its own folder for temporary files."""

    def __init__(self, folder: Path, code: str, *args: object, name: str = "serve") -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self.errors = folder / "errors.txt"
        command = [sys.executable, "-c", f"{code}\nmain(prog_name='dcase2018')", name, *map(str, args)]
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=errors, text=True,
                env=os.environ | {"TMPDIR": str(self.temporary)},
            )  # fmt: skip
        assert self.process.stdout
        self.address = self.process.stdout.readline().strip().rstrip("/")
        assert self.address, self.errors.read_text()

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def workers(self) -> list[int]:
        """Return the ids of the worker processes."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def open_uploads(self) -> list[str]:
        """Return the unnamed temporary files that the server has open."""
        targets = []
        for entry in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(OSError):
                targets.append(str(entry.readlink()))
        return [target for target in targets if target.startswith(str(self.temporary))]

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(signum)
        return self.process.wait(30)


# Run `serve` with limits that tests can reach.
SERVE = """
from dcase2018.cli.main import main
from dcase2018.server import serve, uploads
limits = uploads.UploadLimits(upload_bytes=4_000_000, total_bytes=10_000_000, requests=9, chunk_seconds=1.5)
serve.UploadLimits = lambda: limits
serve.IDLE_TIMEOUT = 1.5
"""


@pytest.fixture(scope="session")
def server(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two runs, with limits that tests can reach."""
    server = Server(tmp_path_factory.mktemp("served"), SERVE, *runs.values())
    yield server
    workers = server.workers()
    assert server.stop() == 128 + signal.SIGTERM
    assert "Traceback" not in (log := server.errors.read_text())
    assert log.startswith("loading the taggers ...\n")
    assert log.endswith("dcase2018: stopped\n")
    assert list_dir(server.temporary) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
