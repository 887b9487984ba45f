"""Samples to scores as one graph of tensors: what `extract` and `predict` do with a clip, front end included.

The Fourier transform is a convolution with the window and the waves of the bins that a band hears: it goes
into every format, and is nearer to the exact transform than an FFT in float32. Examples are scored some at
a time, in a loop, so that memory grows with a clip by its samples alone.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from dcase2018.features.config import FeatureConfig
from dcase2018.features.logmel import LogMel
from dcase2018.inference.predictor import SCORE_EPS
from dcase2018.runs.run import Run

Tensor = Any

AT_ONCE = 16  # examples


def waves(feature_config: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """Kernel of the windowed Fourier transform, and the weights of its bins in each band, both float32.

    Returns
    -------
    kernel : ndarray
        (win_length, 1, 2 * bins): cosines, then sines, of the bins that are heard.
    weights : ndarray
        (bins, mel_bands)
    """
    log_mel = LogMel(feature_config)
    bins = np.arange(feature_config.n_fft // 2 + 1)[log_mel.bins]
    turns = np.outer(np.arange(feature_config.win_length), bins) % feature_config.n_fft
    angle = 2 * np.pi / feature_config.n_fft * turns
    kernel = log_mel.window[:, None] * np.hstack([np.cos(angle), np.sin(angle)])
    return kernel[:, None].astype(np.float32), log_mel.weights


class Graph:
    """Call it with the samples of a clip to get its scores.

    Parameters
    ----------
    model
        The network of `run`. Its layers are changed for converters: nobody trains it any more.
    """

    def __init__(self, run: Run, model: keras.Model) -> None:
        self.run, self.feature_config, self.model = run, run.feature_config, model
        _prepare(model)
        self.state = [
            [ops.convert_to_numpy(variable) for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]
        self.window, self.hop = (
            run.hparams.example_frames(run.feature_config),
            run.hparams.inference_hop_frames(run.feature_config),
        )
        if self.feature_config.feature == "log_mel":
            self.kernel, self.weights = waves(self.feature_config)

    def __call__(self, samples: Tensor) -> Tensor:
        """Score a clip.

        Parameters
        ----------
        samples
            float32 in [-1, 1], (n_samples,), mono and at the feature_config's sample rate.

        Returns
        -------
        Tensor
            float32, (classes,)
        """
        given = ops.shape(samples)[0]
        samples = self._scaled(self._trimmed(_filled(samples, 1)))
        n_samples = ops.shape(samples)[0]
        n_frames = (
            1 + ops.maximum(n_samples - self.feature_config.frame_length, 0) // self.feature_config.hop_length
        )
        n_examples = 1 + ops.maximum(n_frames - self.window, 0) // self.hop
        whole = _filled(samples, self.feature_config.frame_length)

        def more(first: Tensor, total: Tensor) -> Tensor:
            return first < n_examples

        def score(first: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
            examples = self._examples(whole, first, ops.minimum(AT_ONCE, n_examples - first))
            scores, _ = self.model.stateless_call(*self.state, examples, training=False)
            if self.run.hparams.clip_pooling == "geometric_mean":
                scores = ops.log(ops.maximum(scores, SCORE_EPS))
            return first + AT_ONCE, total + ops.sum(scores, axis=0)

        nothing = ops.zeros(len(self.run.classes))
        _, total = ops.while_loop(more, score, (ops.zeros((), "int32"), nothing))
        mean = self._mean(total / ops.cast(n_examples, "float32"))
        return ops.where(given > 0, mean, self.run.prior)

    def _trimmed(self, samples: Tensor) -> Tensor:
        """Cut quiet ends, in whole hops, as the feature_config says; silence is left whole."""
        if not self.feature_config.trim_db:
            return samples
        hop = self.feature_config.hop_length
        n_hops = (ops.shape(samples)[0] + hop - 1) // hop
        envelope = ops.max(ops.reshape(ops.abs(_filled(samples, n_hops * hop)), (-1, hop)), axis=1)
        loud = envelope >= ops.max(envelope) * 10 ** (-self.feature_config.trim_db / 20)
        number = ops.arange(n_hops)
        first = ops.min(ops.where(loud, number, n_hops))
        last = ops.max(ops.where(loud, number, 0))
        return samples[first * hop : (last + 1) * hop]

    def _scaled(self, samples: Tensor) -> Tensor:
        """Scale to a peak of 1, if the feature_config says so; silence is left as it is."""
        if self.feature_config.normalize == "none":
            return samples
        peak = ops.max(ops.abs(samples))
        return samples / ops.where(peak > 0, peak, 1.0)

    def _examples(self, samples: Tensor, first: Tensor, count: Tensor) -> Tensor:
        """Examples of a clip from the `first` on: (count, window, width), a short clip filled up to one."""
        hop, n_frames = self.feature_config.hop_length, (count - 1) * self.hop + self.window
        start = first * self.hop * hop
        frames = self._frames(
            samples[start : start + (n_frames - 1) * hop + self.feature_config.frame_length]
        )
        there = ops.shape(frames)[0]
        place = ops.arange(count)[:, None] * self.hop + np.arange(self.window)
        tiled = self.run.hparams.pad_mode == "wrap"
        place_there = place % there if tiled else ops.minimum(place, there - 1)
        examples = ops.take(frames, place_there, axis=0)
        return (
            examples
            if tiled
            else ops.where((place < there)[:, :, None], examples, self.feature_config.silence_value)
        )

    def _frames(self, samples: Tensor) -> Tensor:
        """Frames of samples: float32, (n_frames, width), rounded as the store keeps them."""
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
        kept = ops.reshape(ops.cast(frames, feature_config.storage_dtype), (-1, feature_config.n_features))
        return ops.cast(kept, "float32")  # not at once: two casts in a row are one to a converter

    def _mean(self, mean: Tensor) -> Tensor:
        if self.run.hparams.clip_pooling == "mean":
            return mean
        mean = ops.exp(mean)
        return mean / ops.sum(mean) if self.run.hparams.classifier == "softmax" else mean


def _prepare(model: keras.Model) -> None:
    """Take out what converters do not bear in a loop: tensors in layers, and loops over time."""
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.mean, layer.variance = map(ops.convert_to_numpy, (layer.mean, layer.variance))
        for part in (layer, *(getattr(layer, way, None) for way in ("forward_layer", "backward_layer"))):
            if isinstance(part, layers.RNN):
                part.unroll = True


def _filled(samples: Tensor, length: Tensor) -> Tensor:
    """Samples, with silence at their end up to a length that they may have already."""
    missing = ops.maximum(length - ops.shape(samples)[0], 0)
    return ops.concatenate([samples, ops.zeros((missing,))])
