"""Lists of clips: forms of names, Unicode forms, missing files and symbolic links."""

import logging
import os
import unicodedata
from pathlib import Path

import pytest
from conftest import noise, write_wav

from dcase2018.data.audio import AudioReadError
from dcase2018.data.files import broken_links, find_audio_files, list_clips, list_recordings
from dcase2018.utils.errors import InputError

NFC, NFD = (unicodedata.normalize(form, "Caf\u00e9.wav") for form in ("NFC", "NFD"))


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("on_disk", [NFC, NFD])
@pytest.mark.parametrize("listed", [None, NFC, NFD])
def test_names_match_in_any_unicode_form(tmp_path: Path, on_disk: str, listed: str | None) -> None:
    path = touch(tmp_path / on_disk)
    (clip,) = list_clips(tmp_path, None if listed is None else [listed])
    assert (clip.fname, clip.path) == (NFC, path)


def test_names_match_in_any_form_of_the_path(tmp_path: Path) -> None:
    path = touch(tmp_path / "cat" / "a.wav")
    for name in ("cat/a.wav", "./cat/a.wav", "cat//a.wav", "cat\\a.wav", " cat/a.wav"):
        (clip,) = list_clips(tmp_path, [name])
        assert (clip.fname, clip.path) == ("cat/a.wav", path)


def test_files_that_print_alike_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / NFC), touch(tmp_path / NFD)
    with pytest.raises(InputError, match=r"print alike, and differ in their Unicode form .*\\xe9|\\u0301"):
        list_clips(tmp_path)
    with pytest.raises(InputError, match="print alike"):
        find_audio_files(tmp_path)


def test_missing_clips_are_named_or_allowed(tmp_path: Path) -> None:
    touch(tmp_path / "cat" / "a.wav")
    names = ["cat/a.wav", "a.wav", "b.wav", "c.wav"]
    message = (
        r"3 of 4 clips are not in .*: 'a.wav' \(did you mean 'cat/a.wav'\?\), 'b.wav', 'c.wav';"
        r" correct the names, or skip these clips with --missing skip$"
    )
    with pytest.raises(InputError, match=message):
        list_clips(tmp_path, names)
    clips = list_clips(tmp_path, names, allow_missing=True)
    assert [clip.fname for clip in clips] == names
    clips[0].check_exists()
    with pytest.raises(AudioReadError, match="unreadable: no such file"):
        clips[1].check_exists()


def test_an_absolute_name_is_refused_with_the_name_below_the_folder(tmp_path: Path) -> None:
    path = touch(tmp_path / "cat" / "a.wav")
    with pytest.raises(InputError, match=r"absolute paths or with '\.\.', .* such as 'cat/a.wav'$"):
        list_clips(tmp_path, [str(path)])


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder `set` of links as git-annex and DVC make them, out of the folder, and a link to a folder."""
    touch(tmp_path / "objects" / "MD5-1.wav").write_bytes(b"12345")
    touch(tmp_path / "disk" / "more" / "deep.wav")
    folder = tmp_path / "set" / "cat"
    folder.mkdir(parents=True)
    (folder / "a.wav").symlink_to("../../objects/MD5-1.wav")
    (folder / "gone.wav").symlink_to("../../objects/MD5-2.wav")
    (folder / "more").symlink_to(tmp_path / "disk" / "more")
    return tmp_path / "set"


def test_links_to_files_and_folders_are_followed(linked: Path) -> None:
    names = ["cat/a.wav", "cat/gone.wav", "cat/more/deep.wav"]
    assert list(find_audio_files(linked)) == names
    assert [file.size for file in list_clips(linked, names)] == [5, 0, 0]
    assert [file.fname for file in list_recordings([linked])] == names


def test_a_link_to_nothing_is_reported_with_its_target(linked: Path) -> None:
    reason = "a link to nothing, '../../objects/MD5-2.wav' (not fetched?)"
    assert broken_links(linked) == {"cat/gone.wav": reason}
    (clip,) = list_clips(linked, ["cat/gone.wav"])
    with pytest.raises(AudioReadError) as caught:
        clip.check_exists()
    assert str(caught.value) == f"unreadable: {reason}"


def test_circular_links_are_skipped_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("bell/1.wav", "cup/1.wav"):
        touch(tmp_path / "set" / name)
    (tmp_path / "set" / "bell" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "cup" / "again").symlink_to(tmp_path / "set" / "cup")
    (tmp_path / "set" / "cup" / "itself").symlink_to("itself")
    (tmp_path / "a" / "x").mkdir(parents=True)
    touch(tmp_path / "b" / "2.wav")
    (tmp_path / "a" / "b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    with caplog.at_level(logging.WARNING):
        assert list(find_audio_files(tmp_path / "set")) == ["bell/1.wav", "cup/1.wav"]
        assert list(find_audio_files(tmp_path / "a")) == ["b/2.wav"]
    assert len(caplog.messages) == 3
    assert (
        f"skipped the link {tmp_path / 'set/bell/again'}: it leads to a folder that contains" in caplog.text
    )


def test_names_of_files_may_have_any_bytes(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", noise(10)).rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9.wav"))
    (clip,) = list_clips(tmp_path, ["\udce9.wav"])
    assert clip.size > 0
