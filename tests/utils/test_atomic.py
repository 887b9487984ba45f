"""Atomic writes, locks and work directories."""

import errno
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from conftest import list_dir

from dcase2018.utils import atomic
from dcase2018.utils.atomic import (
    LEFTOVER_SECONDS,
    atomic_directory,
    atomic_path,
    ensure_writable,
    fsync_path,
    open_atomic,
    remove_leftovers,
    temporary_path,
    work_directory,
    written_together,
)
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.locks import exclusive_lock


def write_old_leftover(path: Path) -> None:
    """Make a temporary folder of `path` that a killed writer left two days ago."""
    leftover = temporary_path(path)
    leftover.mkdir()
    (leftover / "half").write_text("")
    os.utime(leftover, (0, time.time() - 2 * LEFTOVER_SECONDS))


def test_a_text_file_appears_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.csv"
    with open_atomic(path) as file:
        file.write("first\n")
        assert not path.exists()
    assert path.read_bytes() == b"first\n"
    assert list_dir(path.parent) == ["t.csv"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), open_atomic(path) as file:
        file.write("half of the new\ud800")  # not encodable in UTF-8
    assert path.read_text() == "old"
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "folder") as folder:
        folder.joinpath("none", "a").write_text("")
    assert list_dir(tmp_path) == ["t.csv"]


def test_two_writers_of_one_file_use_different_temporary_paths(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with open_atomic(path) as first:
        first.write("first")
        with open_atomic(path) as second:
            second.write("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list_dir(tmp_path) == ["t.csv"]


def test_leftovers_of_killed_writers_are_removed_after_a_day(tmp_path: Path) -> None:
    write_old_leftover(tmp_path / "folder")
    running = temporary_path(tmp_path / "folder")
    running.mkdir()
    write_old_leftover(tmp_path / "folder.csv")
    other = next(tmp_path.glob(".folder.csv.*"))
    with atomic_directory(tmp_path / "folder") as folder:
        (folder / "a").write_text("")
    assert list_dir(tmp_path) == sorted([other.name, running.name, "folder"])
    assert list_dir(tmp_path / "folder") == ["a"]


def test_leftovers_of_a_killed_writer_on_this_host_are_removed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    script = (
        "import os, signal, sys; from pathlib import Path; from dcase2018.utils.atomic import open_atomic\n"
        "with open_atomic(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", script, path], check=False).returncode == -signal.SIGKILL
    assert len(list_dir(tmp_path)) == 1
    of_another_host = tmp_path / list_dir(tmp_path)[0].replace(atomic._host(), "00000000")
    of_another_host.write_text("")
    with open_atomic(path) as file:
        file.write("new")
    assert list_dir(tmp_path) == [of_another_host.name, "t.csv"]


def test_leftovers_are_removed_at_once_under_a_lock(tmp_path: Path) -> None:
    temporary_path(tmp_path / "a[b]*.csv").write_text("")
    temporary_path(tmp_path / "ab.csv").write_text("")
    remove_leftovers(tmp_path / "a[b]*.csv")
    assert [name[:8] for name in list_dir(tmp_path)] == [".ab.csv."]
    remove_leftovers(tmp_path / "*")
    assert list_dir(tmp_path) == []


def test_a_folder_with_content_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    with pytest.raises(OSError, match="not empty"), atomic_directory(tmp_path / "folder") as folder:
        (folder / "a").write_text("")
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["thesis.tex"]


@pytest.fixture(params=["exchange", "rename"])
def way_to_overwrite(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With Linux's exchange of two paths, and without it."""
    if request.param == "rename":
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    return str(request.param)


@pytest.mark.usefixtures("way_to_overwrite")
def test_overwrite_replaces_a_folder_by_a_complete_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / ".folder.bak").mkdir()  # of a killed writer
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "link", overwrite=True):
        _ = 1 / 0
    assert list_dir(tmp_path / "folder") == ["old"]
    with atomic_directory(tmp_path / "link", overwrite=True) as folder:
        (folder / "new").write_text("")
        assert list_dir(tmp_path / "folder") == ["old"]
    assert list_dir(tmp_path / "folder") == ["new"]
    assert list_dir(tmp_path) == ["folder", "link"]
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.EIO, "I/O error"), OSError(errno.ENOSPC, "disk full")]
)
@pytest.mark.parametrize("function", ["fsync", "rename", "replace"])
def test_overwrite_keeps_the_folder_after_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    way_to_overwrite: str,
    error: BaseException,
    function: str,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("")

    def fail(*_: object) -> None:
        raise error

    name = "_exchange" if way_to_overwrite == "exchange" and function != "fsync" else function
    with monkeypatch.context() as patch:
        patch.setattr(atomic if name == "_exchange" else os, name, fail)
        with pytest.raises(type(error)), atomic_directory(tmp_path / "folder", overwrite=True) as folder:
            (folder / "new").write_text("")
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["old"]


OVERWRITE = """
import os, signal, sys
from pathlib import Path
from dcase2018.utils import atomic

path, function = Path(sys.argv[1]), sys.argv[2]
if sys.argv[3] == "rename":
    atomic._exchange = lambda first, second: False

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

with atomic.atomic_directory(path, overwrite=True) as folder:
    (folder / "new").write_text("")
    setattr(atomic if function == "remove" else os, function, die)
"""


@pytest.mark.parametrize("function", ["fsync", "replace", "remove"])
def test_a_killed_overwrite_leaves_the_old_or_the_new_folder(
    tmp_path: Path, way_to_overwrite: str, function: str
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_text("")
    command = [sys.executable, "-c", OVERWRITE, str(path), function, way_to_overwrite]
    assert subprocess.run(command, check=False).returncode in (0, -signal.SIGKILL)
    if path.exists():
        assert list_dir(path) in (["old"], ["new"])
    else:  # without an exchange, the next call restores it
        assert (way_to_overwrite, function) == ("rename", "replace")
    with pytest.raises(ZeroDivisionError), atomic_directory(path, overwrite=True):
        _ = 1 / 0
    assert list_dir(path) in (["old"], ["new"])
    with atomic_directory(path, overwrite=True) as folder:
        (folder / "newest").write_text("")
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(path) == ["newest"]


def test_overwrite_restores_the_folder_of_a_writer_killed_between_its_renames(tmp_path: Path) -> None:
    (tmp_path / ".folder.bak").mkdir()
    (tmp_path / ".folder.bak" / "old").write_text("")
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "folder", overwrite=True):
        _ = 1 / 0
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["old"]


def write_pair(folder: Path, text: str) -> None:
    with written_together():
        for name in ("a.csv", "b.csv"):
            with open_atomic(folder / name) as file:
                file.write(text)


def test_files_written_together_appear_together(tmp_path: Path) -> None:
    write_pair(tmp_path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_pair(tmp_path, "\ud800")
    with written_together(), open_atomic(tmp_path / "a.csv") as file:
        file.write("new")
        assert (tmp_path / "a.csv").read_text() == "old"
    assert [(tmp_path / name).read_text() for name in list_dir(tmp_path)] == ["new", "old"]
    write_pair(tmp_path, "newest")
    assert {path.read_text() for path in tmp_path.iterdir()} == {"newest"}


WRITE_PAIR = """
import os, signal, sys
from pathlib import Path
from dcase2018.utils.atomic import open_atomic, written_together

signum, n_calls, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])

def stop_at(function):
    def call(*arguments, **options):
        global n_calls
        n_calls -= 1
        if n_calls == 0:
            os.kill(os.getpid(), signum)
        return function(*arguments, **options)
    return call

os.unlink, os.replace = stop_at(os.unlink), stop_at(os.replace)
with written_together():
    for name in ("a.csv", "b.csv"):
        with open_atomic(folder / name) as file:
            file.write("new")
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("n_calls", [1, 2, 3, 4])
def test_a_stop_never_leaves_files_of_two_states(tmp_path: Path, signum: int, n_calls: int) -> None:
    write_pair(tmp_path, "old")
    command = [sys.executable, "-c", WRITE_PAIR, str(signum), str(n_calls), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signum
    contents = [path.read_text() for path in tmp_path.glob("[!.]*")]
    assert len(set(contents)) <= 1
    if signum != signal.SIGKILL:
        assert contents == ["new", "new"]
    write_pair(tmp_path, "newest")
    assert [(tmp_path / name).read_text() for name in list_dir(tmp_path)] == ["newest", "newest"]


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    script = (
        "import sys; from pathlib import Path; from dcase2018.utils.atomic import open_atomic\n"
        "for i in range(200):\n"
        "    with open_atomic(Path(sys.argv[1])) as file: file.write(sys.argv[2] * 2000 + '\\n')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, path, letter]) for letter in "ab"]
    while None in (writers[0].poll(), writers[1].poll()):
        assert not path.exists() or path.read_text() in ("a" * 2000 + "\n", "b" * 2000 + "\n")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert list_dir(tmp_path) == ["t.csv"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_work_continues_with_a_warning_where_folders_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(atomic, "_not_flushed_devices", set())
    for _ in range(2):
        with atomic_directory(tmp_path / "folder", overwrite=True) as folder:
            (folder / "a").write_text("")
    assert [list_dir(tmp_path), list_dir(tmp_path / "folder")] == [["folder"], ["a"]]
    (message,) = [record.message for record in caplog.records]
    assert message.startswith(str(tmp_path))
    assert "is not flushed to disk, as its file system cannot" in message


def test_an_error_while_a_folder_is_flushed_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="error") as error:
        fsync_path(tmp_path)
    assert error.value.filename == str(tmp_path)


def test_bytes_that_are_not_utf8_are_preserved(tmp_path: Path) -> None:
    with open_atomic(tmp_path / "t.csv") as file:
        file.write(b"Gr\xf6\xdfe.wav".decode(errors="surrogateescape"))
    assert (tmp_path / "t.csv").read_bytes() == b"Gr\xf6\xdfe.wav"


def test_a_lock_excludes_other_processes_until_its_holder_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from dcase2018.utils.locks import exclusive_lock\n"
        "path = Path(sys.argv[1])\n"
        "with exclusive_lock(path, path): print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        message = f"{tmp_path} is being written by another process; wait until it has finished"
        with pytest.raises(Dcase2018Error, match=message), exclusive_lock(tmp_path, tmp_path):
            pass
        process.kill()
    with exclusive_lock(tmp_path, tmp_path):
        assert list_dir(tmp_path) == [".lock"]
    assert list_dir(tmp_path) == []


def test_work_continues_with_a_warning_where_locks_are_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(lock: filelock.FileLock) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with caplog.at_level(logging.WARNING), exclusive_lock(tmp_path, tmp_path / "s.h5"):
        pass
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 's.h5'} is not locked, as its file system has no locks; run one process at a time"
    ]


def test_an_unwritable_folder_fails_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        ensure_writable(tmp_path / "file" / "folder")


def fail_after_writing(target: Path, name: str) -> None:
    with work_directory(target, "parts") as folder:
        (folder / name).write_text("")
        _ = 1 / 0


def test_a_work_directory_stays_until_its_target_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "r.csv"
    with pytest.raises(ZeroDivisionError):
        fail_after_writing(target, temporary_path(Path("a")).name)
    assert list_dir(tmp_path / "new") == []
    with pytest.raises(ZeroDivisionError):
        fail_after_writing(target, "a")
    with work_directory(target, "parts") as folder:
        assert folder == tmp_path / "new" / ".r.csv.parts"
        assert list_dir(folder) == [".lock", "a"]
    assert list_dir(tmp_path / "new") == []


def test_a_work_directory_is_removed_after_its_lock_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS removes no folder with an open file."""
    release = filelock.FileLock.release
    is_folder: list[bool] = []

    def record_folder(lock: filelock.FileLock, force: bool = False) -> None:
        is_folder.append(Path(lock.lock_file).parent.is_dir())
        release(lock, force)

    monkeypatch.setattr(filelock.FileLock, "release", record_folder)
    with work_directory(tmp_path / "r.csv", "parts") as folder:
        (folder / "a").write_text("")
    assert is_folder[0]
    assert list_dir(tmp_path) == []


def test_a_work_directory_removes_leftovers_of_killed_writers(tmp_path: Path) -> None:
    target = tmp_path / "r.csv"
    with pytest.raises(ZeroDivisionError):
        fail_after_writing(target, "a")
    temporary_path(tmp_path / ".r.csv.parts" / "b").write_text("")
    temporary_path(target).write_text("")
    with work_directory(target, "parts") as folder:
        assert list_dir(folder) == [".lock", "a"]
        assert list_dir(tmp_path) == [".r.csv.parts"]


def test_an_atomic_path_can_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with atomic_path(tmp_path / "link") as partial:
        partial.write_text("content")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "content"


def test_a_temporary_path_has_the_suffix_of_its_target(tmp_path: Path) -> None:
    assert temporary_path(tmp_path / "model.keras").suffix == ".keras"
    with atomic_path(tmp_path / "model.keras") as partial:
        temporary_path(tmp_path / "model.keras").write_text("")
        partial.write_text("")
    assert len(list_dir(tmp_path)) == 2
    remove_leftovers(tmp_path / "model.keras")
    assert list_dir(tmp_path) == ["model.keras"]


def test_two_processes_never_mix_files_written_together(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from dcase2018.utils.atomic import open_atomic, written_together\n"
        "for i in range(30):\n"
        "    with written_together():\n"
        "        for name in 'ab':\n"
        "            with open_atomic(Path(sys.argv[1], name)) as file: file.write(sys.argv[2])"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, tmp_path, letter]) for letter in "xy"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert list_dir(tmp_path) == ["a", "b"]
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 1
