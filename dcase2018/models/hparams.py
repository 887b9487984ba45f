"""Hyperparameters of examples, network and training, and the presets.

The first nine have the names, defaults and meanings of the reference. The defaults of all others reproduce
it. The parameters of the features belong to the `FeatureConfig`, and are stored with the features.
"""

import math
from dataclasses import dataclass, replace

from dcase2018.features.config import FeatureConfig
from dcase2018.utils.config import NamedItems, setting, short_repr, validate

# Keys of models.architectures.MODELS, here without importing Keras.
MODEL_NAMES = ("cnn", "mlp", "compact", "vgg", "resnet", "crnn", "wave", "yamnet")

MAX_EPOCHS = 1_000_000

# FeatureConfig.feature that a model requires; the mlp accepts any.
REQUIRED_FEATURE = {name: "log_mel" for name in MODEL_NAMES if name != "mlp"} | {"wave": "waveform"}


@dataclass(frozen=True)
class HParams:
    """Hyperparameters of `fit`, stored with the run.

    `dcase2018 fit -h` lists them with their meanings and constraints.

    Examples
    --------
    >>> HParams(lr=1e-3, batch_size=32)
    """

    example_window_seconds: float = setting(0.250, "duration of an example", gt=0, le=60)
    example_hop_seconds: float = setting(0.125, "hop between examples in training", gt=0, le=60)
    batch_size: int = setting(64, "examples per step", ge=1, le=65536)
    nl: int = setting(2, "hidden layers of the mlp", ge=1, le=100)
    nh: int = setting(256, "units per layer of the mlp", ge=1, le=65536)
    weights_init_stddev: float = setting(1e-3, "standard deviation of the initial weights", gt=0, le=10)
    lr: float = setting(1e-4, "learning rate of Adam", gt=0, le=10)
    adam_eps: float = setting(1e-8, "epsilon of Adam", gt=0, le=1)
    classifier: str = setting("softmax", "output layer and loss", choices=("softmax", "logistic"))
    example_sampling: str = setting(
        "all_windows",
        "examples of an epoch: all windows, or one random crop per clip",
        choices=("all_windows", "random_crop"),
    )
    pad_mode: str = setting(
        "constant",
        "padding of clips shorter than an example: silence, or repetition",
        choices=("constant", "wrap"),
    )
    normalization: str = setting(
        "none", "per_band: to mean 0 and variance 1 over the training clips", choices=("none", "per_band")
    )
    mean_subtraction: float = setting(
        0.0, "fraction of each band's mean over the example that is subtracted", ge=0, le=1
    )
    dropout: float = setting(0.0, "dropout rate before the output layer", ge=0, le=0.95)
    weight_decay: float = setting(0.0, "decoupled weight decay, as in AdamW", ge=0, le=1)
    lr_schedule: str = setting("constant", "learning rate schedule", choices=("constant", "cosine"))
    warmup_epochs: float = setting(0.0, "epochs of linear warmup before the cosine decay", ge=0, le=1000)
    label_smoothing: float = setting(0.0, "fraction of the target spread over all classes", ge=0, le=0.9)
    mixup_alpha: float = setting(0.0, "alpha of the Beta distribution of mixup; 0: no mixup", ge=0, le=10)
    time_shift: float = setting(
        0.0, "maximum circular shift in time, as a fraction of the example", ge=0, le=1
    )
    gain_db: float = setting(0.0, "maximum gain change", ge=0, le=60)
    speed_change: float = setting(
        0.0, "maximum change of speed and pitch, as a fraction of the speed", ge=0, le=1
    )
    filter_augment_db: float = setting(
        0.0, "maximum gain of a random smooth filter over the bands", ge=0, le=60
    )
    time_mask: float = setting(0.0, "maximum masked frames, as a fraction", ge=0, le=1)
    freq_mask: float = setting(0.0, "maximum masked bands, as a fraction", ge=0, le=1)
    unverified_weight: float = setting(1.0, "sample weight of unverified clips", ge=0, le=1)
    label_refinement_every: int = setting(
        0, "epochs between refinements of the unverified labels by the model's predictions; 0: no refinement",
        ge=0, le=MAX_EPOCHS,
    )  # fmt: skip
    loss_mask_std: float = setting(
        0.0, "mask unverified examples whose loss is this many deviations above the batch mean; 0: no mask",
        ge=0, le=10,
    )  # fmt: skip
    class_balance: str = setting(
        "none", "compensation for rare classes", choices=("none", "loss_weight", "sampler")
    )
    verified_finetune_fraction: float = setting(
        0.0, "fraction of the epochs, at the end, on verified clips only and without mixup", ge=0, le=1
    )
    freeze: str = setting(
        "none", "layers that are not trained, with --pretrained", choices=("none", "backbone")
    )
    precision: str = setting(
        "float32", "dtype policy of Keras", choices=("float32", "mixed_float16", "mixed_bfloat16")
    )
    inference_hop_seconds: float = setting(
        0.0, "hop between examples in inference; 0: as in training", ge=0, le=60
    )
    clip_pooling: str = setting(
        "mean", "pooling of the scores of a clip's examples", choices=("mean", "geometric_mean")
    )

    def __post_init__(self) -> None:
        validate(self)

    def __repr__(self) -> str:
        return short_repr(self)

    def example_frames(self, feature_config: FeatureConfig) -> int:
        """Return the number of frames per example."""
        return _count_frames(self.example_window_seconds, feature_config)

    def crop_frames(self, feature_config: FeatureConfig) -> int:
        """Return the number of frames that a training example is made from, before `speed_change`."""
        speed = 1 + self.speed_change if feature_config.feature == "log_mel" else 1
        return math.ceil(self.example_frames(feature_config) * speed)

    def hop_frames(self, feature_config: FeatureConfig) -> int:
        """Return the hop between examples in frames, in training."""
        return _count_frames(self.example_hop_seconds, feature_config)

    def inference_hop_frames(self, feature_config: FeatureConfig) -> int:
        """Return the hop between examples in frames, in inference."""
        return _count_frames(self.inference_hop_seconds or self.example_hop_seconds, feature_config)


def _count_frames(seconds: float, feature_config: FeatureConfig) -> int:
    """Round a duration to frames, at least one, as the reference does: by the number of frames per second."""
    return max(1, round(seconds * (1 / feature_config.stft_hop_seconds)))


@dataclass(frozen=True)
class Preset:
    """A model with its hyperparameters, number of epochs and feature config.

    Attributes
    ----------
    model
        Name of the architecture, as `fit --model` takes it.
    hparams
        Hyperparameters.
    epochs
        Number of epochs.
    features
        Name of the feature config in `dcase2018.features.config.FEATURE_CONFIGS`.
    corrects_labels
        Whether the pipeline corrects unverified labels by cross-validation before training.

    Examples
    --------
    >>> preset = PRESETS["compact"]
    >>> preset.model, preset.features, preset.epochs
    ('compact', 'logmel96', 100)
    """

    model: str
    hparams: HParams
    epochs: int
    features: str = "baseline"
    corrects_labels: bool = False


# Methods shared by the successful systems of the challenge.
COMMON_HPARAMS = HParams(
    example_window_seconds=1.6,
    batch_size=32,
    lr=2e-3,
    example_sampling="random_crop",
    pad_mode="wrap",
    normalization="per_band",
    mean_subtraction=0.25,
    dropout=0.3,
    weight_decay=0.01,
    lr_schedule="cosine",
    warmup_epochs=4,
    label_smoothing=0.1,
    mixup_alpha=0.3,
    gain_db=10,
    speed_change=0.3,
    filter_augment_db=6,
    time_mask=0.2,
    freq_mask=0.2,
    unverified_weight=0.65,
    label_refinement_every=15,
    verified_finetune_fraction=0.25,
    inference_hop_seconds=0.8,
    clip_pooling="geometric_mean",
)

PRESETS = NamedItems(
    {
        # The reference, with the number of epochs of its published score.
        "baseline": Preset("cnn", HParams(), epochs=5),
        # Trains on the synthetic corpus in seconds; too weak for real recordings.
        "quick": Preset("mlp", HParams(lr=1e-3, weights_init_stddev=0.05), epochs=20),
        # For a laptop: fewer weights than the reference and an eighteenth of its MACs.
        "compact": Preset("compact", COMMON_HPARAMS, epochs=100, features="logmel96"),
        # As compact, on labels corrected by cross-validation.
        "compact-clean": Preset(
            "compact", COMMON_HPARAMS, epochs=100, features="logmel96", corrects_labels=True
        ),
        # For a GPU.
        "large": Preset(
            "vgg",
            replace(COMMON_HPARAMS, example_window_seconds=2.56, batch_size=64),
            epochs=100,
            features="logmel96",
        ),
        # For fine-tuning the published weights of YAMNet, which expect features without normalization.
        "yamnet": Preset(
            "yamnet",
            replace(
                COMMON_HPARAMS,
                example_window_seconds=0.96,
                inference_hop_seconds=0.48,
                normalization="none",
                mean_subtraction=0,
                lr=1e-3,
            ),
            epochs=60,
            features="yamnet",
        ),
    }
)
