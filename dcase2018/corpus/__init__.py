"""What lies on a disk: clips, label files, and where they come from.

    tables     CSV files, with every error and its line
    labels     label files and class maps
    splits     what is held out, and folds
    containers whether an audio file is all there
    audio      reading a clip, and what is wrong with a bad one
    sources    which clips a folder holds
    folders    label files for a folder of one's own
    synthetic  the demo corpus
    zenodo     FSDKaggle2018, downloaded

It may import foundation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
