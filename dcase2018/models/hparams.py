"""The hyperparameters of examples, network and training, and the named presets.

Names, defaults and meanings of the first nine are the reference's, and the others default to what it does.
Those of the features belong to the `FeatureConfig` and are fixed in a store when it is extracted.
"""

from dataclasses import dataclass, replace

from dcase2018.features.config import FeatureConfig
from dcase2018.utils.config import setting, validate

MODEL_NAMES = (
    "cnn",
    "mlp",
    "compact",
    "vgg",
    "resnet",
    "crnn",
    "wave",
    "yamnet",
)  # of models.MODELS

MAX_EPOCHS = 1_000_000

# What a network learns from, as a feature_config's `feature` names it; the mlp takes any.
REQUIRED_FEATURE = dict.fromkeys(MODEL_NAMES, "log_mel") | {"wave": "waveform"}
del REQUIRED_FEATURE["mlp"]


@dataclass(frozen=True)
class HParams:
    """What `fit` may be told by `--hparams`; a run keeps it."""

    example_window_seconds: float = setting(0.250, "length of an example", gt=0, le=60)
    example_hop_seconds: float = setting(0.125, "time from one example to the next", gt=0, le=60)
    batch_size: int = setting(64, "examples a step", ge=1, le=65536)
    nl: int = setting(2, "layers of the mlp", ge=1, le=100)
    nh: int = setting(256, "units in a layer of the mlp", ge=1, le=65536)
    weights_init_stddev: float = setting(1e-3, "spread of the initial weights", gt=0, le=10)
    lr: float = setting(1e-4, "learning rate of Adam", gt=0, le=10)
    adam_eps: float = setting(1e-8, "epsilon of Adam", gt=0, le=1)
    classifier: str = setting("softmax", "output layer and loss", choices=("softmax", "logistic"))
    example_sampling: str = setting(
        "all_windows", "an epoch: all windows, or a crop a clip", choices=("all_windows", "random_crop")
    )
    pad_mode: str = setting(
        "constant", "clips shorter than an example: silence, or again", choices=("constant", "wrap")
    )
    normalization: str = setting(
        "none", "to mean 0, variance 1 of the training clips", choices=("none", "per_band")
    )
    dropout: float = setting(0.0, "share of features left out before the output layer", ge=0, le=0.95)
    weight_decay: float = setting(0.0, "decoupled, as in AdamW", ge=0, le=1)
    lr_schedule: str = setting("constant", "the learning rate over time", choices=("constant", "cosine"))
    warmup_epochs: float = setting(0.0, "epochs in which a cosine's rate rises from 0", ge=0, le=1000)
    label_smoothing: float = setting(0.0, "share of a target given to all classes", ge=0, le=0.9)
    mixup_alpha: float = setting(0.0, "alpha of the mixtures; 0: none", ge=0, le=10)
    time_shift: float = setting(0.0, "largest roll in time, as a share of the example", ge=0, le=1)
    gain_db: float = setting(0.0, "largest change of level", ge=0, le=60)
    freq_shift: float = setting(0.0, "largest move along the mel bands, as a share of them", ge=0, le=0.5)
    filter_augment_db: float = setting(
        0.0, "largest change of a band's level, smooth over the bands", ge=0, le=60
    )
    time_mask: float = setting(0.0, "longest run of frames covered, as a share", ge=0, le=1)
    freq_mask: float = setting(0.0, "widest run of bands covered, as a share", ge=0, le=1)
    unverified_weight: float = setting(1.0, "what an unverified clip counts for", ge=0, le=1)
    label_refinement_every: int = setting(
        0, "epochs from one doubt to the next: unverified labels against what is heard in them; 0: never",
        ge=0, le=MAX_EPOCHS,
    )  # fmt: skip
    loss_mask_std: float = setting(
        0.0, "unverified examples this many deviations above a batch's mean loss do not count; 0: all do",
        ge=0, le=10,
    )  # fmt: skip
    class_balance: str = setting(
        "none", "make up for rare classes", choices=("none", "loss_weight", "sampler")
    )
    verified_finetune_fraction: float = setting(
        0.0, "share of the epochs, the last ones, on verified clips without mixup", ge=0, le=1
    )
    freeze: str = setting(
        "none", "layers that do not learn, beside --pretrained", choices=("none", "backbone")
    )
    precision: str = setting(
        "float32", "numbers to compute in", choices=("float32", "mixed_float16", "mixed_bfloat16")
    )
    inference_hop_seconds: float = setting(0.0, "hop of examples in scoring; 0: as in training", ge=0, le=60)
    clip_pooling: str = setting("mean", "mean over a clip's examples", choices=("mean", "geometric_mean"))

    def __post_init__(self) -> None:
        validate(self)

    def example_frames(self, feature_config: FeatureConfig) -> int:
        """Frames in an example."""
        return max(1, round(self.example_window_seconds * (1 / feature_config.stft_hop_seconds)))

    def hop_frames(self, feature_config: FeatureConfig) -> int:
        """Frames from one example's start to the next's in training."""
        return max(1, round(self.example_hop_seconds * (1 / feature_config.stft_hop_seconds)))

    def inference_hop_frames(self, feature_config: FeatureConfig) -> int:
        """Frames from one example's start to the next's in scoring."""
        seconds = self.inference_hop_seconds or self.example_hop_seconds
        return max(1, round(seconds * (1 / feature_config.stft_hop_seconds)))


@dataclass(frozen=True)
class Preset:
    """A network, its hyperparameters, its number of epochs, and the feature config it is made for.

    Attributes
    ----------
    model
        Name of the architecture (see `MODEL_NAMES`).
    features
        Name of the feature config in `dcase2018.features.config.FEATURE_CONFIGS`.
    corrects_labels
        Whether the pipeline corrects unverified labels by cross-validation before training.
    """

    model: str
    hparams: HParams
    epochs: int
    features: str = "baseline"
    corrects_labels: bool = False


# What the systems that did well have in common.
COMMON_HPARAMS = HParams(
    example_window_seconds=1.6,
    batch_size=32,
    lr=2e-3,
    example_sampling="random_crop",
    pad_mode="wrap",
    normalization="per_band",
    dropout=0.3,
    weight_decay=0.01,
    lr_schedule="cosine",
    warmup_epochs=4,
    label_smoothing=0.1,
    mixup_alpha=0.3,
    freq_shift=0.03,
    filter_augment_db=6,
    time_mask=0.2,
    freq_mask=0.2,
    unverified_weight=0.65,
    label_refinement_every=15,
    verified_finetune_fraction=0.25,
    inference_hop_seconds=0.8,
    clip_pooling="geometric_mean",
)

PRESETS = {
    # The reference exactly, for as many epochs as its published score was trained.
    "baseline": Preset("cnn", HParams(), epochs=5),
    # For a first try: trains on the demo corpus in seconds, but is too weak for real recordings.
    "quick": Preset("mlp", HParams(lr=1e-3, weights_init_stddev=0.05), epochs=20),
    # Fewer weights than the reference and an eighteenth of its multiplications, for a laptop.
    "compact": Preset("compact", COMMON_HPARAMS, epochs=100, features="logmel96"),
    # The same on labels that cross-validation has corrected.
    "compact-clean": Preset("compact", COMMON_HPARAMS, epochs=100, features="logmel96", corrects_labels=True),
    # For a GPU.
    "large": Preset(
        "vgg",
        replace(COMMON_HPARAMS, example_window_seconds=2.56, batch_size=64),
        epochs=100,
        features="logmel96",
    ),
    # For fine-tuning the published YAMNet weights, whose features are not normalized.
    "yamnet": Preset(
        "yamnet",
        replace(
            COMMON_HPARAMS,
            example_window_seconds=0.96,
            inference_hop_seconds=0.48,
            normalization="none",
            lr=1e-3,
        ),
        epochs=60,
        features="yamnet",
    ),
}
