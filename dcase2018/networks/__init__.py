"""What learns: settings, architectures, loss and optimizer. It never opens a store.

    hparams    what makes a training, and the presets
    models     networks, from the frames of an example to scores
    objective  what training minimises, and how

It may import foundation and features.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
