"""A training that is planned: everything but the network, checked before Keras is loaded."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.batching.sampler import EpochSampler
from dcase2018.batching.windows import AllWindows, RandomCrops
from dcase2018.data.labels import class_names
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.store import Store
from dcase2018.models.hparams import REQUIRED_FEATURE, HParams, Preset
from dcase2018.runs.provenance import collect_provenance
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.config import diff
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitialWeights:
    """A network whose layers a training begins with.

    Attributes
    ----------
    path
        A `.keras` file, or the `.h5` of weights that the authors of YAMNet publish.
    feature_config
        Of the features that it has learned from.
    classes
        Those that it tells apart; none, where they have no names here.
    """

    path: Path
    feature_config: FeatureConfig
    classes: Sequence[str]

    @classmethod
    def find(cls, path: Path, checkpoint: int | str | None = None) -> "InitialWeights":
        """Look up a network of a run, as `Run.model_file` does, or take a file as YAMNet's weights.

        Raises
        ------
        InputError
            If it is neither, or the run has no such network.
        """
        if path.is_dir():
            run = Run.load(path)
            return cls(run.model_file(checkpoint), run.feature_config, run.classes)
        if path.suffix != ".h5" or checkpoint is not None:
            raise InputError(f"--pretrained {path} is neither a run's folder nor YAMNet's weights (.h5)")
        return cls(path, FEATURE_CONFIGS["yamnet"], ())

    def digest(self) -> str:
        """Digest of the file: the same for the same network."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Experiment:
    """A run, the clips to learn from, others to score after each epoch, and a network to begin with.

    It is made by `plan`, and its network learns by `dcase2018.fit`.
    """

    run: Run
    training: LabeledDataset
    validation: LabeledDataset | None
    initial: InitialWeights | None

    @classmethod
    def create(
        cls,
        path: StrPath,
        preset: Preset,
        store: Store,
        labels: pd.DataFrame,
        validation: pd.DataFrame | None = None,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        initial: InitialWeights | None = None,
    ) -> "Experiment":
        """Plan a run.

        Parameters
        ----------
        path
            Folder of the run.
        labels, validation
            Clips of the store to learn from, and others to score after each epoch (see `read_labels`).
        classes
            Order of the classes; those of `labels`, ascending, if None.
        initial
            Layers to begin with, where they fit; random weights, if None.

        Raises
        ------
        InputError
            If a clip is not in the store or in both label files, none has frames, all are of one class, or
            network or hyperparameters do not go with the rest.
        """
        classes = list(classes or class_names(labels))
        training = LabeledDataset.from_labels(store, labels, classes).drop_empty()
        _check(preset, training, initial)
        held_out = None if validation is None else LabeledDataset.from_labels(store, validation, classes)
        if held_out:
            _check_apart(training, held_out)
        run = Run(
            path=Path(path),
            model=preset.model,
            hparams=preset.hparams,
            feature_config=store.feature_config,
            classes=classes,
            class_counts=training.y_true.sum(axis=0).tolist(),
            epochs=preset.epochs,
            seed=seed,
            training_fingerprint=training.fingerprint(),
            validation_fingerprint=held_out.fingerprint() if held_out else "",
            pretrained_fingerprint=initial.digest() if initial else "",
            provenance=collect_provenance() | {"store": str(store.path)},
        )
        return cls(run, training, held_out, initial)

    @cached_property
    def examples(self) -> AllWindows | RandomCrops:
        """The examples to learn from."""
        hparams, clips = self.run.hparams, self.training
        window = hparams.example_frames(self.run.feature_config)
        if hparams.example_sampling == "random_crop":
            return RandomCrops(clips.store, clips.rows, window, hparams.pad_mode)
        return AllWindows(
            clips.store, clips.rows, window, hparams.hop_frames(self.run.feature_config), hparams.pad_mode
        )

    @cached_property
    def epochs(self) -> EpochSampler:
        """Which examples each epoch has: all, and in the last ones those of verified clips, if so asked."""
        hparams, clips = self.run.hparams, self.training
        return EpochSampler(
            self.run.epochs,
            len(self.examples),
            self.run.seed,
            final_examples=np.flatnonzero(clips.verified[self.examples.clip_index]),
            n_final_epochs=round(hparams.verified_finetune_fraction * self.run.epochs),
            sampling_weights=self._rarity[self.examples.clip_index]
            if hparams.class_balance == "sampler"
            else None,
        )

    @property
    def _rarity(self) -> np.ndarray:
        """One over the number of clips of each clip's class (or the mean of that), on average 1: (clips,)."""
        y_true = self.training.y_true
        rarity = (y_true / np.maximum(y_true.sum(axis=0), 1)).sum(axis=1) / y_true.sum(axis=1)
        return rarity / rarity.mean()

    def targets(self, y_true: np.ndarray) -> np.ndarray:
        """What the network shall say of clips of which this is held to be true: float32 (clips, classes).

        Where losses are masked, one more column tells the unverified clips by 1.
        """
        if self.run.hparams.loss_mask_std:
            y_true = np.column_stack([y_true, ~self.training.verified])
        return y_true.astype(np.float32)

    @property
    def weights(self) -> np.ndarray:
        """What each clip counts for in the loss, float32 (clips,): what the label file tells, if it does."""
        hparams, weights = self.run.hparams, self.training.weights
        if weights is None:
            weights = np.where(self.training.verified, 1.0, hparams.unverified_weight)
        if hparams.class_balance == "loss_weight":
            weights = weights * self._rarity
        return weights.astype(np.float32)

    @property
    def batch_size(self) -> int:
        """Examples a step: those of the hyperparameters, or an epoch's if there are fewer."""
        return min(self.run.hparams.batch_size, int(self.epochs.lengths.max()))

    @property
    def epoch_steps(self) -> float:
        """Steps in which every example is seen once; a batch may end one epoch and begin the next."""
        return len(self.examples) / self.batch_size

    @property
    def refinement_steps(self) -> list[int]:
        """Steps after which labels are weighed against what the network hears, ascending."""
        run, every = self.run, self.run.hparams.label_refinement_every
        if not every or run.hparams.classifier != "softmax" or self.training.verified.all():
            return []
        ends = {self.epoch_end(epoch) for epoch in range(every, self.epochs.final_phase_start, every)}
        return sorted(ends - {0, self.total_steps})

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.epoch_end(self.run.epochs)

    def epoch_end(self, epoch: int) -> int:
        """Step after which so many epochs are complete, but for what does not fill a batch."""
        ends = self.epochs.ends
        return int(ends[epoch - 1]) // self.batch_size if 0 < epoch <= len(ends) else 0

    def stop_reason(self, limits: StoppingCriteria, force: bool = False) -> str:
        """Say why nothing is left to do; "" if something is.

        Raises
        ------
        InputError
            If the folder holds something else, or this run and its checkpoints are gone, unless `force`.
        """
        run = self.run
        if not run.matches_existing(force):
            return ""
        reason = run.state().stop_reason(self.total_steps, limits) if run.is_finished else ""
        if not reason and run.has_no_checkpoints and not force:
            raise InputError(
                f"{run.path} was finished, and cannot go on since its checkpoints are gone;"
                " name another folder, or begin anew with --force"
            )
        return reason


def _check(preset: Preset, training: LabeledDataset, initial: InitialWeights | None) -> None:
    """Refuse what does not go together; warn of what has no effect or learned from other features."""
    hparams, feature_config = preset.hparams, training.store.feature_config
    wanted = REQUIRED_FEATURE.get(preset.model, feature_config.feature)
    if feature_config.feature != wanted:
        raise InputError(
            f"--model {preset.model} learns from {wanted}, and {training.store.path} holds {feature_config.feature};"
            " extract with another --features, or give another --model"
        )
    _tell_idle(hparams, training)
    _check_clips(hparams, training)
    if hparams.freeze != "none" and not initial:
        raise InputError(f"freeze={hparams.freeze} keeps layers as they are; say whose: --pretrained RUN")
    strange = diff(feature_config, initial.feature_config) if initial else []
    if strange:
        log.warning("--pretrained has learned from other features; here %s", "; ".join(strange))


def _tell_idle(hparams: HParams, training: LabeledDataset) -> None:
    """Tell of hyperparameters that have no effect."""
    if hparams.warmup_epochs and hparams.lr_schedule == "constant":
        log.warning("warmup_epochs has no effect: schedule is constant, not cosine")
    if training.weights is not None and hparams.unverified_weight < 1:
        log.info("unverified_weight has no effect: the label file has a weight for each clip")
    if hparams.label_refinement_every and hparams.classifier != "softmax":
        log.info(
            "label_refinement_every has no effect: with classifier=logistic a clip may have several labels"
        )
    if training.store.feature_config.feature == "waveform" and (
        hparams.freq_shift or hparams.filter_augment_db
    ):
        log.info("freq_shift and filter_augment_db have no effect: the store holds no mel bands")


def _check_clips(hparams: HParams, training: LabeledDataset) -> None:
    """Refuse clips from which nothing can be learned with these hyperparameters."""
    told = np.flatnonzero(training.y_true.any(axis=0))
    if len(told) < 2:
        only = training.classes[told[0]]
        raise InputError(f"all clips are of one class, {only!r}; a tagger needs two or more")
    if training.weights is None and not hparams.unverified_weight and not training.verified.any():
        raise InputError("unverified_weight=0 leaves no clip to learn from: none is verified")
    if training.weights is not None and not training.weights.any():
        raise InputError("the label file leaves no clip to learn from: every weight is 0")
    if hparams.verified_finetune_fraction and not training.verified.any():
        raise InputError(
            "verified_finetune_fraction needs a label file that names verified clips (manually_verified);"
            " learn without: --hparams verified_finetune_fraction=0"
        )
    if hparams.classifier == "softmax" and (training.y_true.sum(axis=1) > 1).any():
        raise InputError(
            "classifier=softmax tells one label a clip, and some have several; --hparams classifier=logistic"
        )


def _check_apart(training: LabeledDataset, validation: LabeledDataset) -> None:
    """Refuse clips that are learned and scored: the score would tell nothing."""
    both = [repr(training.store.fnames[row]) for row in np.intersect1d(training.rows, validation.rows)]
    if both:
        raise InputError(
            f"clips stand in both the training and the validation file: {shorten_list(both)};"
            " learn from others (dcase2018 split parts a file)"
        )
