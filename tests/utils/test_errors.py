"""What messages say of many."""

from dcase2018.utils.errors import shorten_list


def test_the_first_few_are_named() -> None:
    assert shorten_list(["a"]) == "a"
    assert shorten_list(list("abcde")) == "a, b, c, d, e"
    assert shorten_list(list("abcdefg")) == "a, b, c, d, e and 2 more"
