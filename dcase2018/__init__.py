"""Sound tagging for DCASE 2018 Task 2: a folder of clips and a CSV of labels to a ranked submission.

The rooms, in the order in which data flows. A room imports only from rooms above it here, and only by
the names that their doors hand on; each door tells its modules in order, and what the room may import.

    foundation    what every room may use
    corpus        what lies on a disk: clips and label files
    features      clips to a store: the first half ends here
    networks      what learns
    examples      a store and labels to batches
    runs          what a training leaves on a disk
    scoring       what a run says of clips, and how right that is
    training      an experiment becomes a run
    reporting     what people look at
    using         a run at work outside: recordings, other programs
    serving       a page on this machine to try taggers with

Above them is the command line:

    loading       Keras, loaded without greetings
    program       what all commands have in common
    commands      the commands: parse, call, print
    cli           the command line itself

The public names of the library, with what is promised of them, are in `__init__.pyi`.
"""


def __getattr__(name: str) -> object:
    """Hand on the public names, which `__init__.pyi` lists, when they are asked for (PEP 562)."""
    import lazy_loader  # with the list it takes longer to read than all the rest of this module

    hand_on, _, names = lazy_loader.attach_stub(__name__, __file__)
    return names if name == "__all__" else hand_on(name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
