"""A store and labels to shuffled batches. It never touches audio.

    clips    what the clips of a store are, by a label file
    windows  examples out of a store
    epochs   which examples an epoch has, in which order
    augment  changes to examples, and mixtures
    batches  all of these, for Keras

It may import foundation, corpus, features and networks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
