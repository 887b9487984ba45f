"""The name that a user probably meant, for messages about an unknown one."""

from collections.abc import Iterable

# Names of other libraries, and those here that difflib does not find. The first one that exists is suggested.
SYNONYMS = {
    "activation": ("classifier",),
    "aggregation": ("clip_pooling", "pooling"),
    "amp": ("precision",),
    "analyze": ("tag",),
    "arch": ("model",),
    "architecture": ("model",),
    "balanced": ("class_balance",),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "class_weight": ("class_balance",),
    "classes": ("class_map",),
    "convert": ("export",),
    "cv": ("folds",),
    "debug": ("verbose",),
    "demo": ("synthesize",),
    "detect": ("tag", "detect_events"),
    "dev": ("validation",),
    "early_stopping": ("patience",),
    "epsilon": ("adam_eps",),
    "eta": ("lr",),
    "eval": ("evaluate",),
    "events": ("detect_events",),
    "extract": ("features",),
    "f_max": ("mel_max_hz",),
    "f_min": ("mel_min_hz",),
    "features": ("extract",),
    "fit": ("train",),
    "float16": ("mixed_float16", "float16"),
    "fmax": ("mel_max_hz",),
    "fmin": ("mel_min_hz",),
    "force": ("overwrite",),
    "fp16": ("mixed_float16", "precision", "float16"),
    "fp32": ("float32",),
    "frame_length": ("stft_window_seconds",),
    "frame_shift": ("stft_hop_seconds",),
    "fs": ("sample_rate",),
    "half": ("mixed_float16", "float16"),
    "hidden_layers": ("nl",),
    "hidden_units": ("nh",),
    "hop": ("hop_seconds", "example_hop_seconds"),
    "hop_length": ("stft_hop_seconds", "example_hop_seconds"),
    "hop_size": ("stft_hop_seconds", "example_hop_seconds"),
    "infer": ("predict",),
    "init": ("pretrained",),
    "input_length": ("example_window_seconds",),
    "k_folds": ("folds",),
    "kfold": ("folds",),
    "l2": ("weight_decay",),
    "learning_rate": ("lr",),
    "load": ("pretrained",),
    "loss": ("classifier",),
    "max_epochs": ("epochs",),
    "max_time": ("max_minutes",),
    "mels": ("mel_bands",),
    "mixed_precision": ("precision",),
    "mixup": ("mixup_alpha",),
    "n_fft": ("stft_window_seconds",),
    "n_jobs": ("jobs",),
    "n_mels": ("mel_bands",),
    "network": ("model",),
    "num_epochs": ("epochs",),
    "num_folds": ("folds",),
    "num_layers": ("nl",),
    "num_mels": ("mel_bands",),
    "num_units": ("nh",),
    "num_workers": ("jobs",),
    "out": ("output",),
    "output_dir": ("output",),
    "padding": ("pad_mode",),
    "pitch_shift": ("speed_change",),
    "processes": ("jobs",),
    "random_state": ("seed",),
    "regularization": ("weight_decay",),
    "save": ("output",),
    "savedmodel": ("saved-model",),
    "scheduler": ("lr_schedule",),
    "segment_seconds": ("example_window_seconds",),
    "server": ("serve",),
    "show": ("info",),
    "spec_augment": ("time_mask",),
    "specaugment": ("time_mask",),
    "sr": ("sample_rate",),
    "submit": ("predict", "submission"),
    "tensorflow": ("saved-model",),
    "test": ("evaluate",),
    "tf": ("saved-model",),
    "tflite": ("litert",),
    "threads": ("jobs",),
    "top_db": ("trim_db",),
    "train": ("fit",),
    "units": ("nh",),
    "val": ("validation",),
    "val_split": ("validation",),
    "valid": ("validation",),
    "warmup": ("warmup_epochs",),
    "wd": ("weight_decay",),
    "web": ("serve",),
    "weights": ("pretrained",),
    "win_length": ("stft_window_seconds", "example_window_seconds"),
    "window": ("example_window_seconds", "stft_window_seconds"),
    "workers": ("jobs",),
}


def same_or_synonym(name: str, names: Iterable[str]) -> str:
    """Return the one of `names` that is spelled like `name` or is a synonym of it; "" if none is.

    Upper case, leading dashes, and the difference between `-` and `_` are ignored.
    """
    by_key = {_key(other): other for other in names}
    keys = (_key(name), *map(_key, SYNONYMS.get(_key(name), ())))
    return next((by_key[key] for key in keys if key in by_key), "")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the one of `names` that was probably meant by `name`; "" if none is near.

    Examples
    --------
    >>> nearest("learning_rate", ["batch_size", "lr"]), nearest("batchsize", ["batch_size", "lr"])
    ('lr', 'batch_size')
    """
    import difflib  # only a message needs it

    names = list(names)
    by_key = {_key(other): other for other in names}
    close = difflib.get_close_matches(_key(name), by_key, 1)
    return same_or_synonym(name, names) or "".join(by_key[key] for key in close)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return `did you mean NAME? ` for a message, or "" if no name is near."""
    found = nearest(name, names)
    return f"did you mean {found}? " if found else ""


def _key(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
