"""Why an audio file cannot be used, and what is wrong with one that is used nevertheless."""

from pathlib import Path

UNREADABLE = "unreadable"  # prefix of errors that may be temporary, although the file is the same
INCOMPLETE = "incomplete"  # prefix of warnings about audio that is lost


class AudioReadError(Exception):
    """An audio file cannot be used.

    Attributes
    ----------
    reason : str
        Why it cannot be used.
    path : Path or None
        The file, which the message then names.

    Examples
    --------
    >>> try:
    ...     scores = tagger.clip_scores("clip.wav")
    ... except AudioReadError as error:
    ...     print(error)
    clip.wav: unreadable: not a regular file
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: Path | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


def describe_error(error: AudioReadError | OSError) -> str:
    """Return why an audio file cannot be used, as stored in `STORE.failed.csv`."""
    return f"{UNREADABLE}: {error.strerror or error}" if isinstance(error, OSError) else error.reason


def is_incomplete(warning: str) -> bool:
    """Return whether a warning of `AudioReader` means that audio of the file is lost."""
    return warning.startswith(INCOMPLETE)
