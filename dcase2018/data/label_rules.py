"""Rules for the values of label files: class names, flags and numbers."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

# Words that score tables use as columns or rows beside the classes.
RESERVED = frozenset({"fname", "label", "labels", "verified", "fold", "overall"})

# Texts that pandas and spreadsheets read as an empty field.
MISSING_VALUES = frozenset(
    {
        "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
        "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip

USAGES = {"public": "Public", "private": "Private", "ignored": "Ignored"}
FLAGS = dict.fromkeys(("1", "1.0", "true", "yes"), "1") | dict.fromkeys(("0", "0.0", "false", "no", ""), "0")


def normalize_label(text: str) -> str:
    """Return a label in Unicode form NFC, without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def split_labels(text: str) -> list[str]:
    """Split comma-separated labels, each in normal form."""
    return [normalize_label(label) for label in text.split(",")]


def validate_label(label: str, classes: Sequence[str] | None = None) -> Iterator[str]:
    """Yield the error of a label that is not allowed."""
    if not label:
        yield "label is empty"
    elif label in MISSING_VALUES:
        yield f"label {label!r} looks like an empty field; fill it in, or rename the class"
    elif classes is not None and label not in classes:
        yield f"label {label!r} is not among the {len(classes)} classes"
    elif label in RESERVED:
        yield f"label {label!r} is reserved for score tables; rename the class"
    elif re.search(r"\s", label):
        yield f"label {label!r} contains white space; use {sanitize_class_name(label)}"
    elif "," in label:
        yield f"label {label!r} contains a comma; use {sanitize_class_name(label)}"


def similar_labels(labels: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each label that differs from an earlier one only in how it is written, with the earlier one.

    Such labels are one number in two forms, as `0` and `0.0`, or print alike because of invisible characters.
    """
    first_of_key: dict[Decimal | str, str] = {}
    for label in dict.fromkeys(labels):
        number = parse_number(label)
        visible = "".join(char for char in label if unicodedata.category(char) not in ("Cf", "Cc"))
        first = first_of_key.setdefault(visible if number is None else number, label)
        if first != label:
            yield first, label


def parse_number(text: str) -> Decimal | None:
    """Parse a decimal number, such as `1`, `01` or `1.0`; None for any other text."""
    return Decimal(text) if re.fullmatch(r"[+-]?\d+(\.\d*)?", text.strip()) else None


def parse_fraction(text: str) -> float | None:
    """Parse a number from 0 to 1; None for any other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def describe_encoding_error(text: str) -> str:
    """Describe the first byte of a text that is not UTF-8; "" if there is none (see `open_text`)."""
    if text.isascii():
        return ""
    raw = text.encode("utf-8", "surrogateescape")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"{raw.decode('utf-8', 'replace')!r} is not UTF-8 (byte 0x{raw[error.start]:02x})"
    return ""


def sanitize_class_name(text: str) -> str:
    """Replace white space and commas by underscores: submissions and tables use them as separators."""
    return re.sub(r"[\s,]+", "_", normalize_label(text))


def sanitize_class_names(text: str) -> str:
    """Sanitize comma-separated class names; see `sanitize_class_name`."""
    return ",".join(map(sanitize_class_name, text.split(",")))
