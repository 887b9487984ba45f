"""Atomic writes, locks and work directories."""

import errno
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest
from conftest import list_dir

from dcase2018.utils.atomic import (
    LEFTOVER_SECONDS,
    atomic_directory,
    atomic_path,
    ensure_writable,
    exclusive_lock,
    open_atomic,
    remove_leftovers,
    temporary_path,
    work_directory,
)
from dcase2018.utils.errors import Dcase2018Error


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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "I/O error")])
@pytest.mark.parametrize("method", ["rename", "replace"])
def test_overwrite_restores_the_folder_when_a_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, method: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("")

    def fail(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, fail)
        with pytest.raises(type(error)), atomic_directory(tmp_path / "folder", overwrite=True) as folder:
            (folder / "new").write_text("")
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["old"]


def test_overwrite_restores_the_folder_of_a_writer_killed_between_its_renames(tmp_path: Path) -> None:
    (tmp_path / ".folder.bak").mkdir()
    (tmp_path / ".folder.bak" / "old").write_text("")
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "folder", overwrite=True):
        _ = 1 / 0
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["old"]


def test_bytes_that_are_not_utf8_are_preserved(tmp_path: Path) -> None:
    with open_atomic(tmp_path / "t.csv") as file:
        file.write(b"Gr\xf6\xdfe.wav".decode(errors="surrogateescape"))
    assert (tmp_path / "t.csv").read_bytes() == b"Gr\xf6\xdfe.wav"


def test_a_lock_excludes_other_processes_until_its_holder_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from dcase2018.utils.atomic import exclusive_lock\n"
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
        fail_after_writing(target, ".a.0a1b2c3d.tmp")
    assert list_dir(tmp_path / "new") == []
    with pytest.raises(ZeroDivisionError):
        fail_after_writing(target, "a")
    with work_directory(target, "parts") as folder:
        assert folder == tmp_path / "new" / ".r.csv.parts"
        assert list_dir(folder) == [".lock", "a"]
    assert list_dir(tmp_path / "new") == []


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
