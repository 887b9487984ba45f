"""Extraction that is killed, or whose disk is full, at any moment: nothing lost, nothing half-written."""

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from conftest import BASELINE, list_dir, noise, write_wav
from test_extraction import content

from dcase2018.features import extraction
from dcase2018.features import store as writing
from dcase2018.features.extraction import extract
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import Store
from dcase2018.utils import atomic as publish

N_CLIPS = 12

# Everything by which an extraction changes the disk, and the work between.
WRITES = [
    (Path, "replace"), (Path, "mkdir"), (Path, "unlink"), (h5py.Dataset, "__setitem__"),
    (writing.DeferredErrorFile, "check"), (publish, "sync"), (shutil, "rmtree"),
]  # fmt: skip
MOMENTS = [*WRITES, (h5py.File, "__init__"), (h5py.File, "close"), (FrontEnd, "__call__")]


@pytest.fixture
def audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(extraction, "SHARD_CLIPS", 3)
    for number in range(N_CLIPS):
        write_wav(tmp_path / "audio" / f"{number:02d}.wav", noise(3000 + 500 * number, seed=number))
    (tmp_path / "audio" / "05.wav").write_bytes(b"no audio")
    return tmp_path / "audio"


def at_moment(
    number: int,
    moments: list[tuple[object, str]],
    act: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], int]:
    """Have `act` called just before the moment of this number; return a counter of moments."""
    count = 0

    def wrap(function: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == number:
                act()
            return function(*args, **kwargs)

        return counted

    for owner, name in moments:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))
    return lambda: count


def committed(folder: Path) -> int:
    return sum(len(Store(path)) for path in folder.glob(".s.h5.shards/[!.]*.h5"))


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(number: int, audio: Path, target: Path) -> int:
    """Extract in a forked process that is killed at a moment; return the moments it came by, if all."""
    child = os.fork()
    if child == 0:
        moments = at_moment(
            number, MOMENTS, lambda: os.kill(os.getpid(), signal.SIGKILL), pytest.MonkeyPatch()
        )
        extract(audio, target, BASELINE)
        os._exit(min(moments(), 255))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return 0
    return os.WEXITSTATUS(status)


@pytest.mark.slow
def test_killed_at_every_moment(audio: Path, tmp_path: Path) -> None:
    extract(audio, tmp_path / "undisturbed.h5", BASELINE)
    expected = content(tmp_path / "undisturbed.h5")
    for number in range(1, 1000):
        folder = tmp_path / f"kill-{number}"
        folder.mkdir()
        target = folder / "s.h5"
        if killed_at(number, audio, target):
            break
        kept = N_CLIPS if target.exists() else committed(folder)
        assert extract(audio, target, BASELINE).computed == N_CLIPS - kept
        assert content(target) == expected
        assert list_dir(folder) == ["s.h5", "s.failed.csv"]
    assert 25 <= number < 1000


@pytest.mark.slow
def test_killed_in_parallel_at_any_time(audio: Path, tmp_path: Path) -> None:
    for number in range(N_CLIPS, 400):
        write_wav(audio / f"{number:03d}.wav", noise(20000, seed=number))
    started = time.monotonic()
    extract(audio, tmp_path / "undisturbed.h5", BASELINE, jobs=2)
    whole = time.monotonic() - started + 1  # to start Python
    expected = content(tmp_path / "undisturbed.h5")
    code = "import sys, pathlib as p, dcase2018.features.extraction as e; e.SHARD_CLIPS = 3\n"
    code += "e.extract(p.Path(sys.argv[1]), p.Path(sys.argv[2]), e.FeatureConfig(), jobs=2)"
    target = tmp_path / "s.h5"
    for part in range(1, 9):
        process = subprocess.Popen([sys.executable, "-c", code, audio, target], stderr=subprocess.DEVNULL)
        time.sleep(whole * part / 8)
        process.kill()
        process.wait()
        kept = 400 if target.exists() else committed(tmp_path)
        assert extract(audio, target, BASELINE, jobs=2).computed <= 400 - kept
        assert content(target) == expected
        time.sleep(0.5)  # workers of the dead process end
        assert not list(tmp_path.glob(".*"))
        target.unlink()


def children(pid: int) -> list[int]:
    """Processes that a process has started, other than joblib's tracker of resources."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in found}
    return [child for child, line in lines.items() if "popen_loky_posix" in line]


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether a condition comes to hold in time."""
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(holds)


@pytest.fixture
def at_work(tmp_path: Path) -> subprocess.Popen[str]:
    """An extraction by two workers, which have begun and are not nearly done."""
    clip = write_wav(tmp_path / "audio" / "0.wav", noise(44100 * 60))
    for number in range(1, 200):
        os.link(clip, tmp_path / "audio" / f"{number}.wav")
    command = [sys.executable, "-m", "dcase2018", "extract", tmp_path / "audio", tmp_path / "s.h5", "-j", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert within(30, lambda: len(children(process.pid)) == 2 and committed(tmp_path))
    return process


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_what_started_them(
    at_work: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    workers = children(at_work.pid)
    at_work.send_signal(number)
    message = at_work.communicate(timeout=30)[1]
    assert within(5, lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    assert committed(tmp_path)
    if number == signal.SIGTERM:
        assert at_work.returncode == 143
        assert message.splitlines()[-1].startswith("dcase2018: stopped; run the same command again")
        assert "Traceback" not in message


@pytest.mark.slow
def test_a_worker_that_the_system_ends(at_work: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(children(at_work.pid)[0], signal.SIGKILL)
    message = at_work.communicate(timeout=30)[1]
    assert at_work.returncode == 1
    assert "the system ended a worker process" in message.splitlines()[-1]
    assert "Traceback" not in message


def changed(audio: Path) -> None:
    write_wav(audio / "03.wav", noise(9000, seed=99))
    write_wav(audio / "12.wav", noise(4000, seed=98))


def no_space() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the disk")


@pytest.mark.slow
@pytest.mark.parametrize("with_old", [False, True])
def test_the_disk_is_full_at_every_moment(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_old: bool
) -> None:
    extract(audio, tmp_path / "old.h5", BASELINE)
    old = content(tmp_path / "old.h5") if with_old else None
    changed(audio)
    extract(audio, tmp_path / "new.h5", BASELINE)
    new = content(tmp_path / "new.h5")
    for number in range(1, 1000):
        folder = tmp_path / f"full-{number}"
        folder.mkdir()
        target = folder / "s.h5"
        if with_old:
            shutil.copy(tmp_path / "old.h5", target)
        with monkeypatch.context() as patch:
            moments = at_moment(number, WRITES, no_space, patch)
            with contextlib.suppress(OSError):
                extract(audio, target, BASELINE)
            finished = moments() < number
        found = content(target) if target.exists() else None
        assert found in ([new] if finished else [old, new])
        assert not list(folder.glob("**/.partial-*"))
        extract(audio, target, BASELINE)
        assert content(target) == new
        assert list_dir(folder) == ["s.h5", "s.failed.csv"]
        if finished:
            break
    assert 15 <= number < 1000


@pytest.mark.slow
def test_a_real_limit_on_the_size_of_files(audio: Path, tmp_path: Path) -> None:
    """The kernel refuses to let files grow, at sizes from nothing to that of the whole store."""
    extract(audio, tmp_path / "undisturbed.h5", BASELINE)
    size = (tmp_path / "undisturbed.h5").stat().st_size
    command = [sys.executable, "-m", "dcase2018", "extract", audio, tmp_path / "s.h5", "-j", "1"]

    def limit(most: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    for most in [*range(0, size, size // 12), size - 1]:
        done = subprocess.run(command, preexec_fn=limit(most), capture_output=True, text=True, check=False)
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        assert "File too large" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "s.h5").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3
    assert content(tmp_path / "s.h5") == content(tmp_path / "undisturbed.h5")
