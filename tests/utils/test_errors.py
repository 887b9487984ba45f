"""What messages say of many."""

from dcase2018.utils.errors import some


def test_the_first_few_are_named() -> None:
    assert some(["a"]) == "a"
    assert some(list("abcde")) == "a, b, c, d, e"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
