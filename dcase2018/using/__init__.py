"""A run at work outside: recordings, other programs. It never trains.

    timeline    scores over time, and what a window is made to sound like
    events      scores over time, joined to events
    listening   runs that listen to audio files
    kept        what was heard, kept until the output is written
    formats     what was heard, as CSV, JSON lines, and what Audacity and Raven read
    tagging     recordings to tables: in parallel, going on after a kill
    vectors     embeddings as HDF5 or CSV
    embedding   what a network makes of examples before it classifies them
    graph       samples to scores as one graph of tensors
    conversion  a graph to the file of a runtime, in a process of its own
    bundle      what lies beside it: its meaning, an example, a page
    comparison  what the example says beside what `predict` says
    exporting   all of these, published when they agree

It may import foundation, corpus, features, networks, examples, runs and scoring.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
