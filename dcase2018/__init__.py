"""Audio tagging for DCASE 2018 Task 2: audio clips and a CSV of labels to a ranked submission.

The packages, in import order. A package imports only from packages above it:

    utils          shared helpers
    data           audio files, label files, splits, the demo corpus
    features       log mel features and the feature store
    models         hyperparameters, networks, losses
    batching       store and labels to batches
    runs           the run folder
    inference      scores of clips and windows
    evaluation     metrics, intervals, calibration
    label_quality  label issues and corrected labels
    training       training, cross-validation, tuning
    reporting      the HTML report
    exporting      ONNX, LiteRT, SavedModel
    server         the local web pages
    cli            the command line

The public names are listed in `__init__.pyi` and imported when they are first used.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is imported


def __getattr__(name: str) -> object:
    """Import a public name of `__init__.pyi` on first use (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)

    import lazy_loader  # importing it takes longer than the rest of this module

    get_attribute, _, names = lazy_loader.attach_stub(__name__, __file__)
    return names if name == "__all__" else get_attribute(name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
