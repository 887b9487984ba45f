"""The hyperparameters of examples, network and training, and the named presets.

Names, defaults and meanings of the first nine are the reference's, and the others default to what it does.
Those of the features belong to `dcase2018.recipe.Recipe` and are fixed in a store when it is extracted.
"""

from dataclasses import dataclass

from dcase2018.recipe import Recipe
from dcase2018.settings import check, knob


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
    schedule: str = knob("constant", "the learning rate over time", choices=("constant", "cosine"))
    warmup_epochs: float = knob(0.0, "epochs in which a cosine's rate rises from 0", least=0, most=1000)
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


PRESETS = {
    # The reference to the letter, for as long as its published score was trained.
    "baseline": Preset("cnn", HParams(), epochs=5),
    # For a first look: learns the demo corpus in seconds, and is no good match for real sounds.
    "quick": Preset("mlp", HParams(lr=1e-3, weights_init_stddev=0.05), epochs=20),
}
