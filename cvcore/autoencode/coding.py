"""Latent vectors as few bytes: quantised, and entropy-coded under what is known of normal images' vectors.

A code is a 12-byte header and the words of a range coder (Martin 1979), little-endian:

    "VDC1" | width, height: uint16, pixels of the image | step: float32 | words: uint32 each

The decoder needs the model and the `Prior` that the encoder had.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import constriction
import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError

MAGIC = b"VDC1"
_HEADER = struct.Struct("<4sHHf")
MAX_SYMBOL = 2**14
MIN_SCALE = 1e-3
"""Of a quantised number's distribution: narrower ones are coded as if they were this wide."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """A Laplace distribution of each number of a latent vector.

    Attributes:
        means, scales: (D,).
    """

    means: Floats
    scales: Floats

    @classmethod
    def fit(cls, vectors: npt.NDArray[np.floating]) -> Prior:
        """Of the latent vectors of typical images, (N, D): medians and mean absolute deviations."""
        values = vectors.astype(np.float64)
        means = np.median(values, axis=0)
        return cls(means, np.maximum(np.abs(values - means).mean(axis=0), np.finfo(np.float32).tiny))

    def delta(self, step: float) -> float:
        """The distance of two levels, for a step in units of the mean scale."""
        return step * float(self.scales.mean())

    def _model(self, step: float) -> tuple[Floats, Floats]:
        return np.zeros_like(self.means), np.maximum(self.scales / self.delta(step), MIN_SCALE)


@dataclass(frozen=True)
class Code:
    """What a code holds: the image's size, the step, and the latent vector as it was quantised, (D,)."""

    width: int
    height: int
    step: float
    latent: Floats


_laplace = constriction.stream.model.QuantizedLaplace(-MAX_SYMBOL, MAX_SYMBOL)


def encode_latent(
    latent: npt.NDArray[np.floating], prior: Prior, *, step: float, width: int, height: int
) -> bytes:
    """A latent vector, (D,), as bytes.

    Args:
        latent: finite.
        prior: of its numbers.
        step: between levels, in units of the prior's mean scale; above 0. Smaller is finer, and longer.
        width, height: of the image that it is of, pixels, below 65,536.
    """
    if not step > 0:
        raise ValueError(f"step must be above 0, got {step}")
    exact = float(np.float32(step))  # as the decoder will read it
    levels = np.round((latent.astype(np.float64) - prior.means) / prior.delta(exact))
    symbols = np.clip(levels, -MAX_SYMBOL, MAX_SYMBOL).astype(np.int32)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(symbols, _laplace, *prior._model(exact))
    words: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return _HEADER.pack(MAGIC, width, height, exact) + words


def decode_latent(code: bytes, prior: Prior) -> Code:
    """The inverse, to half a step.

    Raises:
        SpecError: for bytes that are no such code.
    """
    if len(code) < _HEADER.size or not code.startswith(MAGIC) or (len(code) - _HEADER.size) % 4:
        raise SpecError("this is no code of veedor compress, or a damaged one")
    _, width, height, step = _HEADER.unpack_from(code)
    if not (np.isfinite(step) and step > 0):
        raise SpecError("this is no code of veedor compress, or a damaged one: its step is not above 0")
    words = np.frombuffer(code, "<u4", offset=_HEADER.size).astype(np.uint32)
    decoder = constriction.stream.queue.RangeDecoder(words)
    try:
        symbols = decoder.decode(_laplace, *prior._model(step))
    except (ValueError, AssertionError) as error:
        raise SpecError(f"this code is damaged, or was made with another prior ({error})") from error
    return Code(width, height, step, prior.means + symbols * prior.delta(step))
