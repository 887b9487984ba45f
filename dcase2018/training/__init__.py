"""An experiment becomes a run. It knows no pages.

    experiment  a training that is planned, and checked before Keras is loaded
    doubts      unverified labels against what the network hears
    trainer     what happens between two steps
    fitting     the network of an experiment learns
    folds       a run a fold
    tuning      a search for hyperparameters

It may import foundation, corpus, features, networks, examples, runs and scoring.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
