"""What a training leaves on a disk, and finds again. It never trains.

    provenance  where a run comes from
    state       where a training stands
    events      scalars for TensorBoard
    networkfile networks as files
    calibration what makes scores shares of clips that are right
    run         the run folder
    ensemble    runs that score the same clips together

It may import foundation, features and networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
