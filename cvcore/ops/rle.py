"""COCO's run-length encoding: lengths of runs, and the text that they are written as.

Runs alternate between pixels outside and inside, outside first, and go down each column, columns from left to
right. Written, each from the fourth on is its difference to the one before the last, in digits of five bits,
the least first, one a character; https://github.com/cocodataset/cocoapi, `maskApi.c`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Runs = npt.NDArray[np.int64]

_BITS, _FIRST = 5, 48
_DIGIT, _SIGN, _MORE = 31, 16, 32
_MOST_DIGITS = 12


def write_runs(runs: Runs, starts: Sequence[int]) -> list[str]:
    """The text of each mask.

    Args:
        runs: (R,) of all masks, one after the other.
        starts: where each mask's begin, ascending; the first is 0.
    """
    first = np.asarray(starts, np.int64)
    counts = np.diff(np.append(first, len(runs)))
    place = np.arange(len(runs)) - np.repeat(first, counts)
    later = np.flatnonzero(place > 2)
    values = runs.copy()
    values[later] -= runs[later - 2]
    characters, lengths = _digits(values)
    text = characters.tobytes().decode("ascii")
    ends = np.append(0, np.cumsum(lengths))[np.append(first, len(runs))].tolist()
    return [text[a:b] for a, b in pairwise(ends)]


def _digits(values: Runs) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The characters of all values, and how many each has."""
    columns, going = [], [np.ones(len(values), bool)]
    rest = values
    while going[-1].any():
        digit = rest & _DIGIT
        rest = rest >> _BITS
        more = going[-1] & (rest != np.where(digit & _SIGN, -1, 0))
        columns.append((digit + np.where(more, _MORE, 0) + _FIRST).astype(np.uint8))
        going.append(more)
    if not columns:
        return np.empty(0, np.uint8), np.empty(0, np.int64)
    there = np.stack(going[:-1], axis=1)
    return np.stack(columns, axis=1)[there], there.sum(axis=1)


def read_runs(counts: Any) -> Runs:
    """Lengths of runs of an RLE's `counts`: text, or a list of numbers as COCO's crowds have them.

    Raises:
        ValueError: for what is neither, and for runs of a negative length.
    """
    if isinstance(counts, (str, bytes)):
        runs = _read_text(counts.encode("ascii", errors="replace") if isinstance(counts, str) else counts)
    else:
        runs = _read_numbers(counts)
    if len(runs) and runs.min() < 0:
        raise ValueError("an RLE has runs of a negative length")
    return runs


def _read_numbers(counts: Any) -> Runs:
    try:
        numbers = np.asarray(counts)
        if numbers.ndim == 1 and np.issubdtype(numbers.dtype, np.integer):
            return numbers.astype(np.int64)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"an RLE's counts are a text or whole numbers, got {str(counts)[:100]}")


def _read_text(text: bytes) -> Runs:
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - _FIRST
    if not len(codes):
        return codes
    last = (codes & _MORE) == 0
    if codes.min() < 0 or codes.max() >= 2 * _MORE or not last[-1]:
        raise ValueError(f"an RLE's text has other characters or ends early: {text[:40]!r}")
    ends = np.flatnonzero(last)
    firsts = np.append(0, ends[:-1] + 1)
    sizes = ends - firsts + 1
    if sizes.max() > _MOST_DIGITS:
        raise ValueError(f"an RLE's text has numbers that are too long: {text[:40]!r}")
    shifts = _BITS * (np.arange(len(codes)) - np.repeat(firsts, sizes))
    values = np.add.reduceat((codes & _DIGIT) << shifts, firsts)
    values -= np.where(codes[ends] & _SIGN, 1, 0) << (_BITS * sizes)
    for parity in (1, 2):
        values[parity::2] = np.cumsum(values[parity::2])
    return values
