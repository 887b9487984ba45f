"""What every room may use; it knows neither sounds nor networks.

    errors    what a user can cause, as one line and an exit code
    settings  frozen dataclasses that a user may override by name=value
    records   dataclasses out of files, each value compared with its declaration
    publish   files that appear whole or not at all
    scratch   memory that is used again
    progress  a bar on a terminal, a line now and then elsewhere
    signals   Ctrl-C and SIGTERM as a wish to end in order
    parallel  processes of this machine, or a Dask cluster
    apart     a task in a process of its own
    accelerators  those that this machine has
    places    where trainings run: here, a process an accelerator, a Dask cluster

It imports no other room.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
