"""The hyperparameters of examples, network and training, and the named presets.

Names, defaults and meanings of the first nine are the reference's, and the others default to what it does.
Those of the features belong to the `Recipe` and are fixed in a store when it is extracted.
"""

from dataclasses import dataclass, replace

from dcase2018.features.config import Recipe
from dcase2018.utils.config import check, knob

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

MOST_EPOCHS = 1_000_000

# What a network learns from, as a recipe's `feature` names it; the mlp takes any.
LEARNS_FROM = dict.fromkeys(MODEL_NAMES, "log_mel") | {"wave": "waveform"}
del LEARNS_FROM["mlp"]


@dataclass(frozen=True)
class HParams:
    """What `fit` may be told by `--hparams`; a run keeps it."""

    example_window_seconds: float = knob(0.250, "length of an example", above=0, most=60)
    example_hop_seconds: float = knob(0.125, "time from one example to the next", above=0, most=60)
    batch_size: int = knob(64, "examples a step", least=1, most=65536)
    nl: int = knob(2, "layers of the mlp", least=1, most=100)
    nh: int = knob(256, "units in a layer of the mlp", least=1, most=65536)
    weights_init_stddev: float = knob(1e-3, "spread of the initial weights", above=0, most=10)
    lr: float = knob(1e-4, "learning rate of Adam", above=0, most=10)
    adam_eps: float = knob(1e-8, "epsilon of Adam", above=0, most=1)
    classifier: str = knob("softmax", "output layer and loss", choices=("softmax", "logistic"))
    sampling: str = knob("windows", "an epoch: all windows, or a crop a clip", choices=("windows", "crops"))
    short: str = knob("pad", "clips shorter than an example: silence, or again", choices=("pad", "tile"))
    standardize: str = knob("none", "to mean 0, variance 1 of the training clips", choices=("none", "bands"))
    dropout: float = knob(0.0, "share of features left out before the output layer", least=0, most=0.95)
    weight_decay: float = knob(0.0, "decoupled, as in AdamW", least=0, most=1)
    schedule: str = knob("constant", "the learning rate over time", choices=("constant", "cosine"))
    warmup_epochs: float = knob(0.0, "epochs in which a cosine's rate rises from 0", least=0, most=1000)
    label_smoothing: float = knob(0.0, "share of a target given to all classes", least=0, most=0.9)
    mixup: float = knob(0.0, "alpha of the mixtures; 0: none", least=0, most=10)
    time_shift: float = knob(0.0, "largest roll in time, as a share of the example", least=0, most=1)
    gain_db: float = knob(0.0, "largest change of level", least=0, most=60)
    band_shift: float = knob(0.0, "largest move along the mel bands, as a share of them", least=0, most=0.5)
    filter_db: float = knob(0.0, "largest change of a band's level, smooth over the bands", least=0, most=60)
    time_mask: float = knob(0.0, "longest run of frames covered, as a share", least=0, most=1)
    band_mask: float = knob(0.0, "widest run of bands covered, as a share", least=0, most=1)
    unverified_weight: float = knob(1.0, "what an unverified clip counts for", least=0, most=1)
    doubt_epochs: int = knob(
        0, "epochs from one doubt to the next: unverified labels against what is heard in them; 0: never",
        least=0, most=MOST_EPOCHS,
    )  # fmt: skip
    loss_mask: float = knob(
        0.0, "unverified examples this many deviations above a batch's mean loss do not count; 0: all do",
        least=0, most=10,
    )  # fmt: skip
    balance: str = knob("none", "make up for rare classes", choices=("none", "weights", "sampling"))
    verified_stretch: float = knob(
        0.0, "share of the epochs, the last ones, on verified clips without mixup", least=0, most=1
    )
    freeze: str = knob("none", "layers that do not learn, beside --init-from", choices=("none", "features"))
    precision: str = knob(
        "float32", "numbers to compute in", choices=("float32", "mixed_float16", "mixed_bfloat16")
    )
    score_hop_seconds: float = knob(0.0, "hop of examples in scoring; 0: as in training", least=0, most=60)
    score_mean: str = knob("arithmetic", "mean over a clip's examples", choices=("arithmetic", "geometric"))

    def __post_init__(self) -> None:
        check(self)

    def example_window(self, recipe: Recipe) -> int:
        """Frames in an example."""
        return max(1, round(self.example_window_seconds * (1 / recipe.stft_hop_seconds)))

    def example_hop(self, recipe: Recipe) -> int:
        """Frames from one example's start to the next's in training."""
        return max(1, round(self.example_hop_seconds * (1 / recipe.stft_hop_seconds)))

    def score_hop(self, recipe: Recipe) -> int:
        """Frames from one example's start to the next's in scoring."""
        seconds = self.score_hop_seconds or self.example_hop_seconds
        return max(1, round(seconds * (1 / recipe.stft_hop_seconds)))


@dataclass(frozen=True)
class Preset:
    """What one word chooses for `fit`: a network, its hyperparameters and how long it learns."""

    model: str
    hparams: HParams
    epochs: int


# What the systems that did well have in common.
FIELD = HParams(
    example_window_seconds=1.6,
    batch_size=32,
    lr=2e-3,
    sampling="crops",
    short="tile",
    standardize="bands",
    dropout=0.3,
    weight_decay=0.01,
    schedule="cosine",
    warmup_epochs=4,
    label_smoothing=0.1,
    mixup=0.3,
    band_shift=0.03,
    filter_db=6,
    time_mask=0.2,
    band_mask=0.2,
    unverified_weight=0.65,
    doubt_epochs=15,
    verified_stretch=0.25,
    score_hop_seconds=0.8,
    score_mean="geometric",
)

PRESETS = {
    # The reference to the letter, for as long as its published score was trained.
    "baseline": Preset("cnn", HParams(), epochs=5),
    # For a first look: learns the demo corpus in seconds, and is no good match for real sounds.
    "quick": Preset("mlp", HParams(lr=1e-3, weights_init_stddev=0.05), epochs=20),
    # Fewer weights than the reference and an eighteenth of its arithmetic, on a laptop.
    "compact": Preset("compact", FIELD, epochs=100),
    # For a GPU.
    "large": Preset("vgg", replace(FIELD, example_window_seconds=2.56, batch_size=64), epochs=100),
    # For fine-tuning the weights that YAMNet's authors publish, whose features are not standardized.
    "yamnet": Preset(
        "yamnet",
        replace(FIELD, example_window_seconds=0.96, score_hop_seconds=0.48, standardize="none", lr=1e-3),
        epochs=60,
    ),
}
