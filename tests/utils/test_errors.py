"""Lists of names in messages."""

from dcase2018.utils.errors import shorten_list


def test_a_long_list_is_shortened_to_the_first_names() -> None:
    assert shorten_list(["a"]) == "a"
    assert shorten_list(list("abcde")) == "a, b, c, d, e"
    assert shorten_list(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert shorten_list(list("abc"), 2, "; ") == "a; b and 1 more"
