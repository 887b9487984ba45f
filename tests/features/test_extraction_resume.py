"""Extraction that is killed, or whose disk is full, at any point: finished clips stay, writes are atomic."""

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
from dcase2018.features.extraction import extract
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import Store
from dcase2018.features.store_writer import DeferredErrorFile
from dcase2018.utils import atomic

N_CLIPS = 12

# All functions by which an extraction changes the disk, and those that it calls in between.
WRITES = [
    (Path, "replace"), (Path, "mkdir"), (Path, "unlink"), (h5py.Dataset, "__setitem__"),
    (DeferredErrorFile, "check"), (atomic, "fsync_path"), (shutil, "rmtree"),
]  # fmt: skip
CALLS = [*WRITES, (h5py.File, "__init__"), (h5py.File, "close"), (FrontEnd, "iter_frames")]


@pytest.fixture
def audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(extraction, "SHARD_CLIPS", 3)
    for i in range(N_CLIPS):
        write_wav(tmp_path / "audio" / f"{i:02d}.wav", noise(3000 + 500 * i, seed=i))
    (tmp_path / "audio" / "05.wav").write_bytes(b"no audio")
    return tmp_path / "audio"


def before_call(
    index: int,
    functions: list[tuple[object, str]],
    action: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], int]:
    """Run `action` before call number `index` of some functions; return a counter of their calls."""
    count = 0

    def wrap(function: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            nonlocal count
            count += 1
            if count == index:
                action()
            return function(*args, **kwargs)

        return counted

    for owner, name in functions:
        monkeypatch.setattr(owner, name, wrap(getattr(owner, name)))
    return lambda: count


def n_clips_in_shards(folder: Path) -> int:
    return sum(len(Store(path)) for path in folder.glob(".s.h5.shards/[!.]*.h5"))


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def extract_and_kill(index: int, audio: Path, target: Path) -> int:
    """Extract in a forked process that is killed before a call; return the number of calls, 0 if killed."""
    child = os.fork()
    if child == 0:
        n_calls = before_call(index, CALLS, kill_this_process, pytest.MonkeyPatch())
        extract(audio, target, BASELINE)
        os._exit(min(n_calls(), 255))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return 0
    return os.WEXITSTATUS(status)


@pytest.mark.slow
def test_a_kill_before_any_call_keeps_finished_clips(audio: Path, tmp_path: Path) -> None:
    extract(audio, tmp_path / "undisturbed.h5", BASELINE)
    expected = content(tmp_path / "undisturbed.h5")
    for index in range(1, 1000):
        folder = tmp_path / f"kill-{index}"
        folder.mkdir()
        target = folder / "s.h5"
        if extract_and_kill(index, audio, target):
            break
        n_finished = N_CLIPS if target.exists() else n_clips_in_shards(folder)
        assert extract(audio, target, BASELINE).computed == N_CLIPS - n_finished
        assert content(target) == expected
        assert list_dir(folder) == ["s.failed.csv", "s.h5"]
    assert 25 <= index < 1000


@pytest.mark.slow
def test_a_kill_of_a_parallel_extraction_keeps_finished_clips(audio: Path, tmp_path: Path) -> None:
    for i in range(N_CLIPS, 400):
        write_wav(audio / f"{i:03d}.wav", noise(20000, seed=i))
    started = time.monotonic()
    extract(audio, tmp_path / "undisturbed.h5", BASELINE, jobs=2)
    duration = time.monotonic() - started + 1  # to start Python
    expected = content(tmp_path / "undisturbed.h5")
    code = "import sys, pathlib as p, dcase2018.features.extraction as e; e.SHARD_CLIPS = 3\n"
    code += "e.extract(p.Path(sys.argv[1]), p.Path(sys.argv[2]), e.FeatureConfig(), jobs=2)"
    target = tmp_path / "s.h5"
    for eighth in range(1, 9):
        process = subprocess.Popen([sys.executable, "-c", code, audio, target], stderr=subprocess.DEVNULL)
        time.sleep(duration * eighth / 8)
        process.kill()
        process.wait()
        n_finished = 400 if target.exists() else n_clips_in_shards(tmp_path)
        assert extract(audio, target, BASELINE, jobs=2).computed <= 400 - n_finished
        assert content(target) == expected
        time.sleep(0.5)  # workers of the dead process end
        assert not list(tmp_path.glob(".*"))
        target.unlink()


def worker_pids(pid: int) -> list[int]:
    """Worker processes of a process, without joblib's resource tracker."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in pids}
    return [child for child, command in commands.items() if "popen_loky_posix" in command]


def wait_until(condition: Callable[[], object], seconds: float) -> bool:
    """Wait for a condition; return whether it became true in time."""
    end = time.monotonic() + seconds
    while not (is_met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(is_met)


@pytest.fixture
def running_extraction(tmp_path: Path) -> subprocess.Popen[str]:
    """An extraction by two workers, of which some shards are finished."""
    clip = write_wav(tmp_path / "audio" / "0.wav", noise(44100 * 60))
    for i in range(1, 200):
        os.link(clip, tmp_path / "audio" / f"{i}.wav")
    command = [sys.executable, "-m", "dcase2018", "extract", tmp_path / "audio", tmp_path / "s.h5", "-j", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert wait_until(lambda: len(worker_pids(process.pid)) == 2 and n_clips_in_shards(tmp_path), 30)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_workers_exit_with_their_parent(
    running_extraction: subprocess.Popen[str], tmp_path: Path, signum: signal.Signals
) -> None:
    workers = worker_pids(running_extraction.pid)
    running_extraction.send_signal(signum)
    message = running_extraction.communicate(timeout=30)[1]
    assert wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 5)
    assert n_clips_in_shards(tmp_path)
    if signum == signal.SIGTERM:
        assert running_extraction.returncode == 143
        assert message.splitlines()[-1].startswith("dcase2018: stopped; run the same command again")
        assert "Traceback" not in message


@pytest.mark.slow
def test_a_killed_worker_fails_the_extraction(
    running_extraction: subprocess.Popen[str], tmp_path: Path
) -> None:
    os.kill(worker_pids(running_extraction.pid)[0], signal.SIGKILL)
    message = running_extraction.communicate(timeout=30)[1]
    assert running_extraction.returncode == 1
    assert "the system ended a worker process" in message.splitlines()[-1]
    assert "Traceback" not in message


def change_clips(audio: Path) -> None:
    write_wav(audio / "03.wav", noise(9000, seed=99))
    write_wav(audio / "12.wav", noise(4000, seed=98))


def raise_disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "the disk")


@pytest.mark.slow
@pytest.mark.parametrize("old_exists", [False, True])
def test_a_full_disk_at_any_write_leaves_the_old_or_the_new_store(
    audio: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_exists: bool
) -> None:
    extract(audio, tmp_path / "old.h5", BASELINE)
    old = content(tmp_path / "old.h5") if old_exists else None
    change_clips(audio)
    extract(audio, tmp_path / "new.h5", BASELINE)
    new = content(tmp_path / "new.h5")
    for index in range(1, 1000):
        folder = tmp_path / f"full-{index}"
        folder.mkdir()
        target = folder / "s.h5"
        if old_exists:
            shutil.copy(tmp_path / "old.h5", target)
        with monkeypatch.context() as patch:
            n_calls = before_call(index, WRITES, raise_disk_full, patch)
            with contextlib.suppress(OSError):
                extract(audio, target, BASELINE)
            finished = n_calls() < index
        result = content(target) if target.exists() else None
        assert result in ([new] if finished else [old, new])
        assert not list(folder.glob("**/.*.????????.tmp*"))
        extract(audio, target, BASELINE)
        assert content(target) == new
        assert list_dir(folder) == ["s.failed.csv", "s.h5"]
        if finished:
            break
    assert 15 <= index < 1000


@pytest.mark.slow
def test_a_file_size_limit_of_the_system_is_one_error(audio: Path, tmp_path: Path) -> None:
    """The limits go from 0 to just below the size of the store."""
    extract(audio, tmp_path / "undisturbed.h5", BASELINE)
    size = (tmp_path / "undisturbed.h5").stat().st_size
    command = [sys.executable, "-m", "dcase2018", "extract", audio, tmp_path / "s.h5", "-j", "1"]

    def set_limit(max_bytes: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))

    for max_bytes in [*range(0, size, size // 12), size - 1]:
        done = subprocess.run(
            command, preexec_fn=set_limit(max_bytes), capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr
        assert "File too large" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "s.h5").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 3
    assert content(tmp_path / "s.h5") == content(tmp_path / "undisturbed.h5")
