"""Clips to a store: the first half ends here. It never loads Keras.

    recipe      what makes a feature, and its frame arithmetic
    logmel      windows of samples to log mel frames
    frontend    a recipe at work: a clip to frames
    half        half-precision frames as single-precision ones
    seal        what is checked before HDF5 reads a store
    store       the HDF5 file where the two halves meet
    writing     a store, written whole
    shards      some clips to a small store, the task of one worker
    extraction  clips to a store, in parallel, going on after a kill

It may import foundation and corpus.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
