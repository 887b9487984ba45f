"""The file `training_clips.csv` of a run: the clips that its model was trained on."""

import csv
from collections.abc import Iterable
from pathlib import Path

from dcase2018.utils.atomic import open_atomic, open_text
from dcase2018.utils.errors import InputError

ClipKey = tuple[str, int]  # file name, and CRC-32 of the frames in the store

HEADER = ["fname", "crc32"]


def write_training_clips(path: Path, clips: Iterable[ClipKey]) -> None:
    """Write the clips, sorted by name, with the CRC-32 as eight hexadecimal digits."""
    rows = [(fname, f"{crc32:08x}") for fname, crc32 in sorted(clips)]
    with open_atomic(path) as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *rows])


def read_training_clips(path: Path) -> set[ClipKey]:
    """Read the clips.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    try:
        with open_text(path) as file:
            header, *rows = csv.reader(file, strict=True)
        if header != HEADER:
            raise ValueError("the header is not fname,crc32")
        return {(fname, int(crc32, 16)) for fname, crc32 in rows}
    except (FileNotFoundError, ValueError, csv.Error) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged: {error}"
        raise InputError(
            f"{path} {reason}; it lists the training clips, which must not be scored;"
            " train again with fit --overwrite"
        ) from None
