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

Above them is the command line:

    program       what all commands have in common
    commands      the commands: parse, call, print
    cli           the command line itself
"""
