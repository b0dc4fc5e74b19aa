"""Batches of images that come in blocks: shuffled within a window, the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Canvases = npt.NDArray[np.uint8]
"""(N, H, W, 3) RGB."""


def stream_batches(
    blocks: Iterable[Canvases], *, batch_size: int, steps: int, window: int, rng: np.random.Generator
) -> Iterator[Tensor]:
    """`steps` batches, (B, H, W, 3) uint8, of a stream's rows in random order.

    Rows are drawn from a window of at least `window` rows that moves along the stream: all of them, where the
    stream is not longer. Each row comes once; a stream that is too short for `steps` goes on with rows of its
    last window, and one of fewer rows than a batch gives batches of as many.

    Raises:
        ValueError: for a stream without rows.
    """
    made = 0
    rest: Canvases | None = None
    last: Canvases | None = None
    for gathered in _windows(blocks, window):
        last = gathered if rest is None else np.concatenate([rest, gathered])
        last = last[rng.permutation(len(last))]
        full = len(last) // batch_size
        for index in range(min(full, steps - made)):
            yield torch.from_numpy(last[index * batch_size : (index + 1) * batch_size])
        made += min(full, steps - made)
        rest = last[full * batch_size :]
        if made == steps:
            return
    if last is None:
        raise ValueError("there is no image to make a batch of")
    size = min(batch_size, len(last))
    while made < steps:
        yield torch.from_numpy(last[rng.choice(len(last), size, replace=False)])
        made += 1


def _windows(blocks: Iterable[Canvases], window: int) -> Iterator[Canvases]:
    waiting: list[Canvases] = []
    rows = 0
    for block in blocks:
        if not len(block):
            continue
        waiting.append(block)
        rows += len(block)
        if rows >= window:
            yield np.concatenate(waiting)
            waiting, rows = [], 0
    if waiting:
        yield np.concatenate(waiting)
