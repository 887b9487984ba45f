"""What people look at. It stands beside training, and never trains.

    intervals  how sure a score is
    plot       the history of a run as a picture

It may import foundation, corpus, runs and scoring.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
