"""Model files are checked before Keras opens them."""

import re
import stat
import zipfile
from pathlib import Path

import pytest

from dcase2018.runs.model_io import is_complete, load_model
from dcase2018.utils.errors import InputError


def write_archive(path: Path, members: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize("name", ["../evil", "assets/../../evil", "/etc/evil", "..\\evil", "a\\..\\..\\evil"])
def test_members_outside_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = write_archive(tmp_path / "model.keras", {"config.json": b"{}", name: b""})
    assert not is_complete(path)
    with pytest.raises(InputError, match=f"unsafe: its member .*{re.escape(name[-4:])}' is outside"):
        load_model(path, compiled=False)


def test_links_in_the_archive_are_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.keras", {"assets": b"/etc"}, stat.S_IFLNK | 0o777)
    with pytest.raises(InputError, match="unsafe: its member 'assets' is outside its folder"):
        load_model(path, compiled=False)


def test_an_archive_that_expands_without_measure_is_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "model.keras", {"config.json": b"{}", "weights": bytes(20_000_000)})
    with pytest.raises(InputError, match=r"unsafe: it expands from 0.0 to 20.0 MB"):
        load_model(path, compiled=False)
    assert is_complete(write_archive(tmp_path / "plain.keras", {"config.json": b"{}", "a/b": b"text"}))
