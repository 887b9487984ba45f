"""Samples to scores as one graph of tensors: the front end, the network and the pooling of `predict`.

The Fourier transform is a convolution with windowed cosines and sines of the bins that mel bands use. It
works in every format, and is closer to the exact transform than an FFT in float32. Windows are scored in
batches within a loop, so memory grows with a clip only by its samples.
"""

from typing import Any

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.features.levels import MEDIAN_SPREAD, SIGNIFICANCE, SILENCE_LEVEL
from dcase2018.features.logmel import LogMel
from dcase2018.inference.ensemble import hide_classes
from dcase2018.inference.pooling import SCORE_EPS
from dcase2018.inference.predictor import WindowConfig
from dcase2018.models.backend import keras
from dcase2018.runs.run import Run

Tensor = Any
layers, ops = keras.layers, keras.ops

GRAPH_BATCH = 16  # windows


def windowed_dft_kernel(feature_config: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """Return the convolution kernel of the windowed Fourier transform, and the mel filterbank.

    Returns
    -------
    kernel : ndarray
        float32, (win_length, 1, 2 * n_bins): cosines, then sines, of the bins that mel bands use.
    weights : ndarray
        float32, (n_bins, mel_bands).
    """
    log_mel = LogMel(feature_config)
    bins = np.arange(feature_config.n_fft // 2 + 1)[log_mel.bins]
    # Reduced modulo n_fft before the multiplication by 2 pi, for exact phases.
    cycles = np.outer(np.arange(feature_config.win_length), bins) % feature_config.n_fft
    phase = 2 * np.pi / feature_config.n_fft * cycles
    kernel = log_mel.window[:, None] * np.hstack([np.cos(phase), np.sin(phase)])
    return kernel[:, None].astype(np.float32), log_mel.weights


class InferenceGraph:
    """Computes the scores of a clip from its samples.

    Parameters
    ----------
    model
        The network of `run`. Its layers are changed for the converters, so it cannot be trained afterwards.
    """

    def __init__(self, run: Run, model: keras.Model) -> None:
        self.run, self.feature_config, self.model = run, run.feature_config, model
        _make_convertible(model)
        self.state = [
            [ops.convert_to_numpy(variable) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]
        self.reported = [run.classes.index(name) for name in hide_classes([run])]
        windows = WindowConfig.from_run(run)
        self.window, self.hop = windows.window, windows.hop
        if self.feature_config.feature == "log_mel":
            self.kernel, self.weights = windowed_dft_kernel(self.feature_config)

    def __call__(self, samples: Tensor) -> Tensor:
        """Score a clip.

        Parameters
        ----------
        samples
            float32 in [-1, 1], (n_samples,), mono, at the feature config's sample rate.

        Returns
        -------
        Tensor
            float32, (reported classes,). A silent clip gets the class frequencies of the training set.
        """
        samples = _pad_to(samples, 1)
        offset, is_silent = self._measure(samples)
        if self.feature_config.depends_on_levels:
            samples = self._scale(self._trim(samples - offset))
        frame_length, hop_length = self.feature_config.frame_length, self.feature_config.hop_length
        n_frames = 1 + ops.maximum(ops.shape(samples)[0] - frame_length, 0) // hop_length
        n_windows = 1 + ops.maximum(n_frames - self.window, 0) // self.hop
        mean = self._mean_terms(_pad_to(samples, frame_length), n_windows)
        return ops.take(ops.where(is_silent, self.run.prior, self._pool(mean)), self.reported)

    def _mean_terms(self, samples: Tensor, n_windows: Tensor) -> Tensor:
        """Return the mean over windows of the terms that `_pool` expects: float32, (classes,)."""

        def is_unfinished(first: Tensor, total: Tensor) -> Tensor:
            return first < n_windows

        def add_batch(first: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
            examples = self._examples(samples, first, ops.minimum(GRAPH_BATCH, n_windows - first))
            scores, _ = self.model.stateless_call(*self.state, examples, training=False)
            if self.run.hparams.clip_pooling == "geometric_mean":
                scores = ops.log(ops.maximum(scores, SCORE_EPS))
            return first + GRAPH_BATCH, total + ops.sum(scores, axis=0)

        start = (ops.zeros((), "int32"), ops.zeros(len(self.run.classes)))
        _, total = ops.while_loop(is_unfinished, add_batch, start)
        return total / ops.cast(n_windows, "float32")

    def _pool(self, mean: Tensor) -> Tensor:
        """Return the scores of a clip from the mean of its terms."""
        if self.run.hparams.clip_pooling == "mean":
            return mean
        mean = ops.exp(mean)
        return mean / ops.sum(mean) if self.run.hparams.classifier == "softmax" else mean

    def _measure(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return the constant offset of a clip, and whether it is silent (see `features.levels`)."""
        hop = self.feature_config.hop_length
        n_complete = ops.shape(samples)[0] // hop * hop
        hops, rest = ops.reshape(samples[:n_complete], (-1, hop)), samples[n_complete:]
        n_rest = ops.shape(rest)[0]
        rest_mean = ops.sum(rest) / ops.cast(ops.maximum(n_rest, 1), "float32")
        means = ops.mean(hops, axis=1)
        is_loud = ops.mean(ops.square(hops - means[:, None]), axis=1) >= SILENCE_LEVEL**2
        rest_power = ops.sum(ops.square(rest - rest_mean)) / ops.cast(ops.maximum(n_rest, 1), "float32")
        n_loud = ops.sum(ops.cast(is_loud, "int32")) + ops.cast(rest_power >= SILENCE_LEVEL**2, "int32")
        n_hops = n_complete // hop + ops.minimum(n_rest, 1)
        sorted_means = ops.sort(ops.concatenate([means, rest_mean[None]])[:n_hops])
        return _significant_median(sorted_means, n_hops), n_loud == 0

    def _trim(self, samples: Tensor) -> Tensor:
        """Trim silent ends in whole hops if the feature config trims; a silent clip is not trimmed."""
        if not self.feature_config.trim_db:
            return samples
        hop = self.feature_config.hop_length
        n_hops = (ops.shape(samples)[0] + hop - 1) // hop
        envelope = ops.max(ops.reshape(ops.abs(_pad_to(samples, n_hops * hop)), (-1, hop)), axis=1)
        is_loud = envelope >= ops.max(envelope) * 10 ** (-self.feature_config.trim_db / 20)
        index = ops.arange(n_hops)
        first = ops.min(ops.where(is_loud, index, n_hops))
        last = ops.max(ops.where(is_loud, index, 0))
        return samples[first * hop : (last + 1) * hop]

    def _scale(self, samples: Tensor) -> Tensor:
        """Scale to a peak of 1 if the feature config scales; silence is unchanged."""
        if self.feature_config.normalize == "none":
            return samples
        peak = ops.max(ops.abs(samples))
        return samples / ops.where(peak > 0, peak, 1.0)

    def _examples(self, samples: Tensor, first: Tensor, count: Tensor) -> Tensor:
        """Return windows from window `first` on, padded if the clip is short: (count, window, n_features)."""
        hop_length, n_needed = self.feature_config.hop_length, (count - 1) * self.hop + self.window
        start = first * self.hop * hop_length
        stop = start + (n_needed - 1) * hop_length + self.feature_config.frame_length
        frames = self._frames(samples[start:stop])
        n_frames = ops.shape(frames)[0]
        index = ops.arange(count)[:, None] * self.hop + np.arange(self.window)
        if self.run.hparams.pad_mode == "wrap":
            return ops.take(frames, index % n_frames, axis=0)
        examples = ops.take(frames, ops.minimum(index, n_frames - 1), axis=0)
        return ops.where((index < n_frames)[:, :, None], examples, self.feature_config.silence_value)

    def _frames(self, samples: Tensor) -> Tensor:
        """Return frames of samples: float32, (n_frames, n_features), rounded to the storage dtype."""
        feature_config = self.feature_config
        if feature_config.feature == "waveform":
            n_frames = ops.shape(samples)[0] // feature_config.hop_length
            frames = samples[: n_frames * feature_config.hop_length]
        else:
            signal = samples[None, :, None]
            spectrum = ops.conv(signal, self.kernel, feature_config.hop_length, data_format="channels_last")
            real, imaginary = ops.split(spectrum, 2, axis=-1)
            magnitude = ops.sqrt(ops.square(real) + ops.square(imaginary))
            frames = ops.log(ops.matmul(magnitude, self.weights) + feature_config.mel_log_offset)
        rounded = ops.reshape(ops.cast(frames, feature_config.storage_dtype), (-1, feature_config.n_features))
        return ops.cast(rounded, "float32")  # after the reshape: converters merge two consecutive casts


def _make_convertible(model: keras.Model) -> None:
    """Replace what converters do not support in a loop: tensors in layers, and loops over time."""
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.mean, layer.variance = map(ops.convert_to_numpy, (layer.mean, layer.variance))
        directions = (getattr(layer, name, None) for name in ("forward_layer", "backward_layer"))
        for recurrent in (layer, *directions):
            if isinstance(recurrent, layers.RNN):
                recurrent.unroll = True


def _significant_median(values: Tensor, n: Tensor) -> Tensor:
    """Return the median of n sorted values, or 0 if it may be 0 by chance (see `features.levels`)."""
    middle, distance = (n - 1) // 2, n // MEDIAN_SPREAD + 1
    low, high = ops.maximum(middle - distance, 0), ops.minimum(middle + distance, n - 1)
    n_between = ops.cast(ops.maximum(high - low, 1), "float32")
    factor = SIGNIFICANCE / 2 * ops.sqrt(ops.cast(n, "float32")) / n_between
    is_significant = ops.abs(values[middle]) > (values[high] - values[low]) * factor
    return ops.where(ops.logical_and(is_significant, n > 1), values[middle], 0.0)


def _pad_to(samples: Tensor, length: Tensor) -> Tensor:
    """Append silence up to a length, if the samples are shorter."""
    n_missing = ops.maximum(length - ops.shape(samples)[0], 0)
    return ops.concatenate([samples, ops.zeros((n_missing,))])
