"""Log mel frames, equal to those of the reference within the rounding errors of a float32 FFT.

The steps: windows of `win_length` samples every `hop_length` samples, without centring; a periodic Hann
window; the magnitude of the FFT of `n_fft` points; triangular filters that are linear in mel (HTK), without
area normalization; the natural logarithm of mel + `mel_log_offset`.
"""

import numpy as np
import scipy.fft

from dcase2018.features.config import FeatureConfig
from dcase2018.features.librosa_import import librosa
from dcase2018.utils.errors import InputError

# SciPy's FFT rounds as TensorFlow's does. FFTW is slightly faster, but differs by 0.02 in the logarithm in
# bands far below a loud tone.

# Frames per FFT call: their spectra fit into the CPU cache, and memory does not grow with the clip.
FFT_BATCH = 32


def mel_filterbank(feature_config: FeatureConfig) -> np.ndarray:
    """Compute the weight of each FFT bin in each band: float32, (n_fft / 2 + 1, mel_bands).

    Each triangle is linear in mel, as in TensorFlow's `linear_to_mel_weight_matrix`. The triangles of
    `librosa.filters.mel` are linear in hertz and differ by up to 0.012 in the logarithm.
    """
    low, high = librosa.hz_to_mel([feature_config.mel_min_hz, feature_config.mel_max_hz], htk=True)
    edges = np.linspace(low, high, feature_config.mel_bands + 2)
    bins = librosa.hz_to_mel(
        librosa.fft_frequencies(sr=feature_config.sample_rate, n_fft=feature_config.n_fft), htk=True
    )[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0  # the DC bin is in no band
    return weights.astype(np.float32)


def hann_window(length: int) -> np.ndarray:
    """Compute a periodic Hann window, float32, (length,), bit-exact to `tf.signal.hann_window`.

    The last bit matters: in bands far from a loud tone, which consist of rounding errors of the window, it
    changes the logarithm by 0.02. As in TensorFlow, a window of odd length is symmetric, not periodic.
    """
    if length == 1:
        return np.ones(1, np.float32)
    period = np.float32(length - length % 2)
    angle = np.float32(2 * np.pi) * np.arange(length, dtype=np.float32) / period
    return np.float32(0.5) - np.float32(0.5) * _cosine(angle)


# Single-precision polynomials of cosine and sine on [-pi/4, pi/4], and pi/2 as a sum of four terms. They are
# those of Eigen without fused multiply-add, for which TensorFlow's packages are built.
_HALF_PI = (1.5703125, 0.000483989715576171875, -1.62865035235881805e-07, -5.56443155441677107e-11)
_COSINE = (2.43722661252832040e-05, -0.00138865201734006405, 0.0416666194796562195, -0.5, 1.0)
_SINE = (-0.000195923411408370290, 0.00833268736556168517, -0.166666620398229826)


def _cosine(angle: np.ndarray) -> np.ndarray:
    """Compute the cosine of non-negative angles in float32 arithmetic, rounded after every operation."""
    quarter = np.rint(angle * np.float32(2 / np.pi))
    for term in _HALF_PI:
        angle = angle - quarter * np.float32(term)
    square = angle * angle
    cosine = _polynomial(_COSINE, square)
    sine = _polynomial(_SINE, square) * square * angle + angle
    turn = quarter.astype(int)
    return np.where(turn & 1, sine, cosine) * np.where((turn + 1) & 2, np.float32(-1), np.float32(1))


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value = value * x + np.float32(coefficient)
    return value


class LogMel:
    """Transform of windows of samples to log mel frames. It can be pickled.

    Raises
    ------
    InputError
        If a mel band contains no FFT bin.
    """

    def __init__(self, feature_config: FeatureConfig) -> None:
        self.feature_config = feature_config
        self.window = hann_window(feature_config.win_length)
        weights = mel_filterbank(feature_config)
        empty = np.flatnonzero(~weights.any(axis=0))
        if len(empty):
            raise InputError(
                f"{len(empty)} of {feature_config.mel_bands} mel bands contain no FFT bin and would be"
                " constant; set fewer mel_bands or longer stft_window_seconds"
            )
        used_bins = np.flatnonzero(weights.any(axis=1))
        self.bins = slice(used_bins[0], used_bins[-1] + 1)
        self.weights = np.ascontiguousarray(weights[self.bins])

    def __call__(self, windows: np.ndarray, full_scale: float) -> np.ndarray:
        """Transform windows of samples.

        Parameters
        ----------
        windows
            int16 or float32, (n_frames, win_length), at the config's sample rate.
        full_scale
            Amplitude in `windows` that is scaled to 1.

        Returns
        -------
        ndarray
            float32, (n_frames, mel_bands), natural logarithm.
        """
        length = self.feature_config.win_length
        window = self.window / np.float32(full_scale)  # exact for 32768: only the exponent changes
        padded = np.zeros((FFT_BATCH, self.feature_config.n_fft), np.float32)
        mel = np.empty((len(windows), self.feature_config.mel_bands), np.float32)
        for start in range(0, len(windows), FFT_BATCH):
            block = windows[start : start + FFT_BATCH]
            np.multiply(block, window, out=padded[: len(block), :length])
            spectrum = scipy.fft.rfft(padded[: len(block)])[:, self.bins]
            np.matmul(np.abs(spectrum), self.weights, out=mel[start : start + len(block)])
        mel += np.float32(self.feature_config.mel_log_offset)
        return np.log(mel, out=mel)
