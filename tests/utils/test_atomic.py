"""Files and folders appear whole or not at all."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import list_dir

from dcase2018.utils.atomic import (
    atomic_directory,
    ensure_writable,
    exclusive_lock,
    open_atomic,
    work_directory,
)
from dcase2018.utils.errors import Dcase2018Error


def test_a_text_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.csv"
    with open_atomic(path) as file:
        file.write("first\n")
        assert not path.exists()
    assert path.read_bytes() == b"first\n"
    assert list_dir(path.parent) == ["t.csv"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), open_atomic(path) as file:
        file.write("half of the new\ud800")  # which no UTF-8 bears
    assert path.read_text() == "old"
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "folder") as folder:
        folder.joinpath("none", "a").write_text("")
    assert list_dir(tmp_path) == ["t.csv"]


def test_what_a_killed_writer_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".partial-folder").mkdir()
    (tmp_path / ".partial-folder" / "half").write_text("")
    with atomic_directory(tmp_path / "folder") as folder:
        (folder / "a").write_text("")
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["a"]


def test_a_folder_with_something_in_it_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("years of work")
    with pytest.raises(OSError, match="not empty"), atomic_directory(tmp_path / "folder") as folder:
        (folder / "a").write_text("")
    assert list_dir(tmp_path) == ["folder"]
    assert list_dir(tmp_path / "folder") == ["thesis.tex"]


def test_a_folder_is_replaced_where_that_is_asked_for_and_only_by_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / ".replaced-folder").mkdir()  # of a writer that was killed
    with pytest.raises(ZeroDivisionError), atomic_directory(tmp_path / "link", overwrite=True):
        _ = 1 / 0
    assert list_dir(tmp_path / "folder") == ["old"]
    with atomic_directory(tmp_path / "link", overwrite=True) as folder:
        (folder / "new").write_text("")
        assert list_dir(tmp_path / "folder") == ["old"]
    assert list_dir(tmp_path / "folder") == ["new"]
    assert list_dir(tmp_path) == ["folder", "link"]
    assert (tmp_path / "link").is_symlink()


def test_names_that_are_not_utf8_go_through_as_they_came(tmp_path: Path) -> None:
    with open_atomic(tmp_path / "t.csv") as file:
        file.write(b"Gr\xf6\xdfe.wav".decode(errors="surrogateescape"))
    assert (tmp_path / "t.csv").read_bytes() == b"Gr\xf6\xdfe.wav"


def test_a_folder_has_one_writer_and_is_free_when_that_ends(tmp_path: Path) -> None:
    other = (
        "import sys; from pathlib import Path; from dcase2018.utils.atomic import exclusive_lock\n"
        "path = Path(sys.argv[1])\n"
        "with exclusive_lock(path, path): print('mine', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", other, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mine\n"
        message = f"{tmp_path} is being written by another process; wait for it to end"
        with pytest.raises(Dcase2018Error, match=message), exclusive_lock(tmp_path, tmp_path):
            pass
        process.kill()
    with exclusive_lock(tmp_path, tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        ensure_writable(tmp_path / "file" / "folder")


def fail_on_the_way(result: Path, name: str) -> None:
    with work_directory(result, "parts") as folder:
        (folder / name).write_text("")
        _ = 1 / 0


def test_what_is_finished_on_the_way_stays_until_the_result_is_there(tmp_path: Path) -> None:
    result = tmp_path / "new" / "r.csv"
    with pytest.raises(ZeroDivisionError):
        fail_on_the_way(result, ".partial-a")
    assert list_dir(tmp_path / "new") == []
    with pytest.raises(ZeroDivisionError):
        fail_on_the_way(result, "a")
    with work_directory(result, "parts") as folder:
        assert folder == tmp_path / "new" / ".r.csv.parts"
        assert list_dir(folder) == ["a"]
    assert list_dir(tmp_path / "new") == []
