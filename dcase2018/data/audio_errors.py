"""Why an audio file cannot be used, and what is wrong with one that is used nevertheless."""

UNREADABLE = "unreadable"  # prefix of errors that may be temporary, although the file is the same
INCOMPLETE = "incomplete"  # prefix of warnings about audio that is lost


class AudioReadError(Exception):
    """An audio file cannot be used. The message is the reason, without the name of the file.

    Examples
    --------
    >>> try:
    ...     scores = tagger.scores("clip.wav")
    ... except AudioReadError as error:
    ...     print(f"clip.wav: {error}")
    """


def describe_error(error: AudioReadError | OSError) -> str:
    """Return why an audio file cannot be used, as stored in `STORE.failed.csv`."""
    return f"{UNREADABLE}: {error.strerror or error}" if isinstance(error, OSError) else str(error)


def is_incomplete(warning: str) -> bool:
    """Return whether a warning of `AudioReader` means that audio of the file is lost."""
    return warning.startswith(INCOMPLETE)
