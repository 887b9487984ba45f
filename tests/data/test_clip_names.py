"""The normal form of clip names, and the nearest existing names."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.data.clip_names import describe_missing, leaves_folder, nearest_fnames, normalize_fname

# Any text, as often as not made of the characters that matter to a path.
NAMES = st.text(st.one_of(st.sampled_from("a/\\. \u00a0\u0308e\u0301\udce9"), st.characters()), max_size=12)


@given(NAMES)
def test_the_normal_form_is_its_own_normal_form(name: str) -> None:
    normal = normalize_fname(name)
    assert normalize_fname(normal) == normal
    assert unicodedata.is_normalized("NFC", normal)
    assert "\\" not in normal
    assert not {"", "."} & set(normal.removeprefix("/").split("/")) or normal in ("", "/")


@given(NAMES, st.sampled_from([" {}", "{}\u00a0", "./{}", ".//{}", "{}/.", "{}/"]))
def test_forms_of_one_name_have_one_normal_form(name: str, form: str) -> None:
    relative = normalize_fname(name).removeprefix("/") or "a"
    assert normalize_fname(form.format(relative)) == relative
    assert normalize_fname(relative.replace("/", "\\")) == relative
    assert normalize_fname(unicodedata.normalize("NFD", relative)) == relative


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("./cat//a.wav", "cat/a.wav"),
        ("cat\\a.wav ", "cat/a.wav"),
        ("/data/a.wav", "/data/a.wav"),
        ("cat/../a.wav", "cat/../a.wav"),
        ("Cafe\u0301.wav", "Caf\u00e9.wav"),
        ("caf\udce9.wav", "caf\udce9.wav"),
        ("a.WAV", "a.WAV"),
    ],
)
def test_normal_forms(name: str, normal: str) -> None:
    assert normalize_fname(name) == normal
    assert leaves_folder(normal) == (normal[0] == "/" or ".." in normal)


EXISTING = ["cat/cat0.wav", "cat/cat1.wav", "dog/dog0.wav", "fold2/x.wav", "c.d.wav"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("cat/cat0", "cat/cat0.wav"),
        ("cat/cat0.WAV", "cat/cat0.wav"),
        ("CAT/CAT0.wav", "cat/cat0.wav"),
        ("audio/cat/cat0.wav", "cat/cat0.wav"),
        ("/home/me/audio/dog/dog0.wav", "dog/dog0.wav"),
        ("cat1.wav", "cat/cat1.wav"),
        ("cat/cat0.mp3", "cat/cat0.wav"),
        ("x", "fold2/x.wav"),
        ("c.d", "c.d.wav"),
        ("cats/cta0.wav", "cat/cat0.wav"),
        ("cat/cat7.wav", None),  # another clip, not a misspelled one
        ("bird.wav", None),
        ("y.wav", None),  # only the suffix is alike
    ],
)
def test_nearest_name(name: str, nearest: str | None) -> None:
    assert list(nearest_fnames([name], EXISTING)) == [(name, nearest)]


def test_a_message_lists_at_most_twenty_missing_names() -> None:
    assert describe_missing(["cat0.wav", "gone.wav"], EXISTING) == (
        "'cat0.wav' (did you mean 'cat/cat0.wav'?), 'gone.wav'"
    )
    assert describe_missing([f"{i}.wav" for i in range(23)], EXISTING).endswith(", '19.wav' and 3 more")
