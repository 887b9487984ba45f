"""The audio that a tagger accepts: paths, or an array of samples; and errors that name the file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dcase2018.data.audio import temporary_audio_file
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import as_paths


@contextmanager
def audio_paths(
    audio: StrPath | Sequence[StrPath] | np.ndarray, sample_rate: int | None
) -> Iterator[list[Path]]:
    """Yield paths as a list, or the path of a temporary file with the samples of an array."""
    if isinstance(audio, np.ndarray):
        if sample_rate is None:
            raise InputError("an array of samples needs its sample_rate")
        with temporary_audio_file(audio, sample_rate) as path:
            yield [path]
        return
    if sample_rate is not None:
        raise InputError("sample_rate applies to an array of samples; files have their own")
    yield as_paths(audio, "audio")


@contextmanager
def named_errors(path: StrPath) -> Iterator[None]:
    """Name the file in an `AudioReadError`."""
    try:
        yield
    except AudioReadError as error:
        error.path = Path(path)
        raise
