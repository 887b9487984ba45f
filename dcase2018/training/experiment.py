"""Experiments: what to train on which clips, validated before Keras is imported."""

import hashlib
import logging
from collections.abc import Collection, Sequence
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
from dcase2018.models.hparams import MAX_EPOCHS, REQUIRED_FEATURE, HParams, Preset
from dcase2018.runs.provenance import collect_provenance
from dcase2018.runs.run import Run, reported_classes
from dcase2018.runs.training_clips import ClipKey
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.config import check_number, check_seed, diff
from dcase2018.utils.errors import InputError, shorten_list
from dcase2018.utils.input_files import require_regular_file

log = logging.getLogger(__name__)

MAX_CLASSES = 20  # named in a message


@dataclass(frozen=True)
class InitialWeights:
    """Pretrained weights that training starts from.

    Attributes
    ----------
    path
        A `.keras` file, or the published YAMNet weights (`.h5`).
    feature_config
        Feature config that the weights were trained with.
    classes
        Class names of the outputs; empty if they are unknown.
    training_clips
        Clips that they were trained on; empty for the published weights.
    """

    path: Path
    feature_config: FeatureConfig
    classes: Sequence[str]
    training_clips: Collection[ClipKey] = ()

    @classmethod
    def find(cls, path: Path, checkpoint: int | str | None = None) -> "InitialWeights":
        """Look up the model file of a run (see `Run.model_file`), or accept a file of YAMNet weights.

        Raises
        ------
        InputError
            If the path is neither, or the run has no such checkpoint.
        """
        if path.is_dir():
            run = Run.load(path)
            return cls(run.model_file(checkpoint), run.feature_config, run.classes, run.training_clips())
        if path.suffix != ".h5" or checkpoint is not None:
            raise InputError(f"--pretrained {path} is neither a run folder nor YAMNet weights (.h5)")
        require_regular_file(path)
        return cls(path, FEATURE_CONFIGS["yamnet"], ())

    def digest(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Experiment:
    """A run with its training clips, validation clips and initial weights.

    `Experiment.create` validates the parts, and `dcase2018.fit` trains the model.

    Examples
    --------
    >>> import dcase2018 as dc
    >>> store, labels = dc.Store("train.h5"), dc.read_labels("train.csv")  # doctest: +SKIP
    >>> experiment = dc.Experiment.create("runs/first", dc.PRESETS["quick"], store, labels)  # doctest: +SKIP
    >>> dc.fit(experiment)  # doctest: +SKIP
    'all 20 epochs are done'
    """

    run: Run
    training: LabeledDataset
    validation: LabeledDataset | None
    initial: InitialWeights | None

    def __repr__(self) -> str:
        kinds = f"{len(self.training.rows)} training"
        if self.validation:
            kinds += f" and {len(self.validation.rows)} validation"
        return f"<Experiment {self.run.path}: {self.run.model}, {kinds} clips>"

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
        background: Collection[str] = (),
    ) -> "Experiment":
        """Validate the parts of an experiment and join labels and features.

        Parameters
        ----------
        path
            Folder of the run. It is not created yet.
        preset
            Architecture, hyperparameters and number of epochs.
        store
            Features of all clips.
        labels, validation
            Labels of the training clips and of the validation clips (see `read_labels`).
        classes
            Class names in order of the outputs. If None, the sorted classes of `labels`.
        seed
            Seed of the weights, the order of examples and the augmentation.
        initial
            Pretrained weights for the layers that fit. If None, all weights are random.
        background
            Classes that are trained but not reported.

        Raises
        ------
        InputError
            If a clip is not in the store or is in both label files, no clip has frames, all clips are of one
            class, a background class does not exist, epochs or seed are out of range, or architecture or
            hyperparameters do not fit the data.
        """
        check_number("epochs", preset.epochs, int, ge=1, le=MAX_EPOCHS)
        check_seed(seed)
        classes = list(classes or class_names(labels))
        reported_classes(classes, background, "--background")
        training = LabeledDataset.from_labels(store, labels, classes).drop_empty()
        _check_preset(preset, training, initial)
        held_out = None if validation is None else LabeledDataset.from_labels(store, validation, classes)
        _warn_missing_classes(path, training, held_out)
        if held_out:
            _check_disjoint(training, held_out)
        run = Run(
            path=Path(path),
            model=preset.model,
            hparams=preset.hparams,
            feature_config=store.feature_config,
            classes=classes,
            class_counts=training.y_true.sum(axis=0).tolist(),
            background_classes=sorted(set(background)),
            epochs=preset.epochs,
            seed=seed,
            training_fingerprint=training.fingerprint(),
            validation_fingerprint=held_out.fingerprint() if held_out else "",
            pretrained_fingerprint=initial.digest() if initial else "",
            provenance=collect_provenance() | {"store": str(store.path)},
        )
        return cls(run, training, held_out, initial)

    def training_clip_keys(self) -> set[ClipKey]:
        """Return the name and CRC-32 of all clips that the model and its initial weights are trained on."""
        store, rows = self.training.store, self.training.rows
        own = {(store.fnames[row], int(store.crc32[row])) for row in rows}
        return own.union(self.initial.training_clips if self.initial else ())

    @cached_property
    def examples(self) -> AllWindows | RandomCrops:
        """Training examples."""
        hparams, clips, feature_config = self.run.hparams, self.training, self.run.feature_config
        window = hparams.crop_frames(feature_config)
        if hparams.example_sampling == "random_crop":
            return RandomCrops(clips.store, clips.rows, window, hparams.pad_mode)
        return AllWindows(
            clips.store, clips.rows, window, hparams.hop_frames(feature_config), hparams.pad_mode
        )

    @cached_property
    def sampler(self) -> EpochSampler:
        """Order of the examples, with a final fine-tuning phase on verified clips if configured."""
        hparams, clip_index = self.run.hparams, self.examples.clip_index
        balanced = hparams.class_balance == "sampler"
        return EpochSampler(
            self.run.epochs,
            len(self.examples),
            hparams.batch_size,
            self.run.seed,
            final_examples=np.flatnonzero(self.training.verified[clip_index]),
            n_final_epochs=self.run.n_finetune_epochs,
            sampling_weights=self._inverse_class_frequency[clip_index] if balanced else None,
        )

    @property
    def _inverse_class_frequency(self) -> np.ndarray:
        """Mean inverse frequency of each clip's classes, scaled to a mean of 1: float64, (clips,)."""
        y_true = self.training.y_true
        inverse = (y_true / np.maximum(y_true.sum(axis=0), 1)).sum(axis=1) / y_true.sum(axis=1)
        return inverse / inverse.mean()

    def make_targets(self, y_true: np.ndarray) -> np.ndarray:
        """Convert labels or soft targets, (clips, classes), to targets of the loss, float32 (clips, values).

        With loss masking, a last column is 1 for unverified clips.
        """
        if self.run.hparams.loss_mask_std:
            y_true = np.column_stack([y_true, ~self.training.verified])
        return y_true.astype(np.float32)

    @property
    def sample_weights(self) -> np.ndarray:
        """Weight of each clip in the loss, float32, (clips,); from the label file if it has weights."""
        hparams, weights = self.run.hparams, self.training.weights
        if weights is None:
            weights = np.where(self.training.verified, 1.0, hparams.unverified_weight)
        if hparams.class_balance == "loss_weight":
            weights = weights * self._inverse_class_frequency
        return weights.astype(np.float32)

    @property
    def batch_size(self) -> int:
        """Examples per step."""
        return self.sampler.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Steps of the first epoch; epochs of the final phase are shorter."""
        return int(self.sampler.n_batches[0])

    @property
    def refinement_steps(self) -> list[int]:
        """Steps after which labels are refined, ascending; each ends an epoch."""
        every = self.run.hparams.label_refinement_every
        if not every or self.run.hparams.classifier != "softmax" or self.training.verified.all():
            return []
        return [self.epoch_end(epoch) for epoch in range(every, self.sampler.final_phase_start, every)]

    @property
    def total_steps(self) -> int:
        """Steps of all epochs."""
        return self.epoch_end(self.run.epochs)

    def epoch_end(self, n_epochs: int) -> int:
        """Return the step at the end of the first `n_epochs` epochs."""
        return int(self.sampler.epoch_ends[n_epochs - 1]) if n_epochs else 0

    def stop_reason(self, criteria: StoppingCriteria, overwrite: bool = False) -> str:
        """Return why the run in the folder is finished; "" if it has to be trained.

        Raises
        ------
        InputError
            If the folder holds something else, or this run cannot resume because its checkpoints were
            deleted, unless `overwrite`.
        """
        run = self.run
        if not run.matches_existing(overwrite):
            return ""
        reason = run.state().stop_reason(self.total_steps, criteria) if run.is_finished else ""
        if not reason and run.has_no_checkpoints and not overwrite:
            raise InputError(
                f"{run.path} cannot resume because its checkpoints were deleted;"
                " name another folder, or train again with --overwrite"
            )
        return reason


def _warn_missing_classes(path: StrPath, training: LabeledDataset, validation: LabeledDataset | None) -> None:
    """Log the classes without a training clip or without a validation clip."""
    for clips, meaning in ((training, "trained on"), (validation, "validated on")):
        if clips and not clips.y_true.any(axis=0).all():
            absent = [training.classes[int(index)] for index in np.flatnonzero(~clips.y_true.any(axis=0))]
            effect = "; its scores of these are meaningless" if clips is training else ""
            log.warning("%s is %s no clip of %s%s", path, meaning, shorten_list(absent, MAX_CLASSES), effect)


def _check_preset(preset: Preset, training: LabeledDataset, initial: InitialWeights | None) -> None:
    """Raise if preset, features and initial weights do not fit; warn of settings without effect."""
    hparams, feature_config = preset.hparams, training.store.feature_config
    required = REQUIRED_FEATURE.get(preset.model, feature_config.feature)
    if feature_config.feature != required:
        raise InputError(
            f"--model {preset.model} requires {required} features, and {training.store.path} holds"
            f" {feature_config.feature}; extract with another --features, or use another --model"
        )
    _warn_unused_hparams(hparams, training)
    _check_clips(hparams, training)
    if hparams.freeze != "none" and not initial:
        raise InputError(f"freeze={hparams.freeze} requires pretrained weights; add --pretrained RUN")
    config_diff = diff(feature_config, initial.feature_config) if initial else []
    if config_diff:
        log.warning("--pretrained was trained with other features; here %s", "; ".join(config_diff))


def _warn_unused_hparams(hparams: HParams, training: LabeledDataset) -> None:
    """Log hyperparameters without effect."""
    if hparams.warmup_epochs and hparams.lr_schedule == "constant":
        log.warning("warmup_epochs has no effect with lr_schedule=constant")
    if training.weights is not None and hparams.unverified_weight < 1:
        log.info("unverified_weight has no effect: the label file has a weight for each clip")
    if hparams.label_refinement_every and hparams.classifier != "softmax":
        log.info("label_refinement_every has no effect: it requires classifier=softmax")
    is_waveform = training.store.feature_config.feature == "waveform"
    if is_waveform and (hparams.speed_change or hparams.filter_augment_db):
        log.info("speed_change and filter_augment_db have no effect: the store holds no mel bands")


def _check_clips(hparams: HParams, training: LabeledDataset) -> None:
    """Raise if a model cannot be trained on these clips with these hyperparameters."""
    present_classes = np.flatnonzero(training.y_true.any(axis=0))
    if len(present_classes) < 2:
        only = training.classes[present_classes[0]]
        raise InputError(f"all clips are of one class, {only!r}; training requires at least two")
    if training.weights is None and not hparams.unverified_weight and not training.verified.any():
        raise InputError("unverified_weight=0 leaves no training clip: no clip is verified")
    if training.weights is not None and not training.weights.any():
        raise InputError("the label file leaves no training clip: every weight is 0")
    if hparams.verified_finetune_fraction and not training.verified.any():
        raise InputError(
            "verified_finetune_fraction requires verified clips (column manually_verified);"
            " turn it off with --hparams verified_finetune_fraction=0"
        )
    if hparams.classifier == "softmax" and (training.y_true.sum(axis=1) > 1).any():
        raise InputError(
            "classifier=softmax allows one label per clip, and some clips have several;"
            " use --hparams classifier=logistic"
        )


def _check_disjoint(training: LabeledDataset, validation: LabeledDataset) -> None:
    """Raise if a clip is used for both training and validation."""
    shared = [repr(training.store.fnames[row]) for row in np.intersect1d(training.rows, validation.rows)]
    if shared:
        raise InputError(
            f"clips are in both the training and the validation file: {shorten_list(shared)};"
            " split a label file with dcase2018 split"
        )
