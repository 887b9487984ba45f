"""What people look at. It stands beside training, and never trains.

    intervals     how sure a score is
    comparison    whether one tagger is better than another
    plot          the history of a run as a picture
    challenge     the real test clips, and what was published on them
    findings      tables of classes, confusions and clips; which clips to show
    account       all numbers of a report as one object, and as tables
    charts        charts that suit light and dark
    pictures      what a tagger heard of a clip
    excerpts      the sound of it
    illustration  both, of one clip
    gallery       both, of all clips that are shown
    page          the report as HTML
    folder        the report, a folder with all that

It may import foundation, corpus, features, runs and scoring.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
