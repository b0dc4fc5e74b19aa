"""Label Studio's brush masks: the byte code of @thi.ng/rle-pack over RGBA pixels.

After 32 bits for the number of values, 5 for the width of a value less one, and four times 4 for the widths
of counts less one, runs follow: a bit that says whether one value repeats, 2 bits for the width of the count,
the count less one, and the value, or that many values.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

CHANNELS = 4
_WORD_BITS = 8
_COUNT_BITS = (3, 4, 8, 16)
_HEADER_BITS = 32 + 5 + 4 * 4


def encode_brush(mask: npt.NDArray[np.bool_]) -> list[int]:
    """The bytes of a mask, (H, W): 255 in all channels of its pixels, 0 elsewhere."""
    flat = mask.reshape(-1)
    bits = [_bits(flat.size * CHANNELS, 32), _bits(_WORD_BITS - 1, 5)]
    bits += [_bits(width - 1, 4) for width in _COUNT_BITS]
    cuts = np.flatnonzero(np.diff(flat)) + 1
    for start, stop in pairwise([0, *cuts.tolist(), flat.size] if flat.size else []):
        bits += _run(int((stop - start) * CHANNELS), 255 if flat[start] else 0)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


def _run(count: int, value: int) -> list[str]:
    found = []
    while count:
        taken = min(count, 2 ** _COUNT_BITS[-1])
        place = next(k for k, width in enumerate(_COUNT_BITS) if taken <= 2**width)
        found += ["1", _bits(place, 2), _bits(taken - 1, _COUNT_BITS[place]), _bits(value, _WORD_BITS)]
        count -= taken
    return found


def _bits(value: int, width: int) -> str:
    return format(value, f"0{width}b")


def decode_brush(code: list[int], *, height: int, width: int) -> npt.NDArray[np.bool_]:
    """The inverse of `encode_brush`, of whatever widths; a pixel is in the mask if its opacity is not 0.

    Raises:
        ValueError: if it is no such code, or not of height * width pixels.
    """
    try:
        body = bytes(code)
    except (ValueError, TypeError) as error:
        raise ValueError("a brush is a list of bytes, 0 to 255") from error
    reader = _Bits("".join(format(byte, "08b") for byte in body))
    num_values = reader.take(32)
    if num_values != height * width * CHANNELS:
        raise ValueError(f"a brush of {height} x {width} pixels is needed, this one has {num_values} values")
    word, widths = reader.take(5) + 1, [0] * 4
    widths = [reader.take(4) + 1 for _ in widths]
    values = np.zeros(num_values, np.int64)
    at = 0
    while at < num_values:
        repeats = reader.take(1)
        stop = at + reader.take(widths[reader.take(2)]) + 1
        if stop > num_values:
            raise ValueError("a brush's runs go beyond its image")
        values[at:stop] = reader.take(word) if repeats else [reader.take(word) for _ in range(stop - at)]
        at = stop
    mask: npt.NDArray[np.bool_] = values.reshape(height, width, CHANNELS)[..., 3] > 0
    return mask


class _Bits:
    """A text of 0 and 1, read from its start."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def take(self, width: int) -> int:
        found = self._text[self._at : self._at + width]
        if len(found) < width:
            raise ValueError("a brush's code ends early")
        self._at += width
        return int(found, 2)
