"""A run at work outside: recordings, other programs, a page. It never trains.

    graph       samples to scores as one graph of tensors
    conversion  a graph to the file of a runtime, in a process of its own
    bundle      what lies beside it: its meaning, an example, a page
    comparison  what the example says beside what `predict` says
    exporting   all of these, published when they agree

It may import foundation, features, runs and scoring.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
