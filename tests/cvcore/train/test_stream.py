"""Batches of a stream: each row once, in an order that only the seed decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from cvcore.train.stream import stream_batches


def blocks(sizes: list[int]) -> Iterator[np.ndarray]:
    """Pixels number the rows."""
    start = 0
    for size in sizes:
        numbers = np.arange(start, start + size, dtype=np.uint8)
        yield np.broadcast_to(numbers[:, None, None, None], (size, 2, 2, 3)).copy()
        start += size


def rows(sizes: list[int], *, batch_size: int, steps: int, window: int, seed: int = 0) -> list[list[int]]:
    made = stream_batches(
        blocks(sizes), batch_size=batch_size, steps=steps, window=window, rng=np.random.default_rng(seed)
    )
    return [batch[:, 0, 0, 0].tolist() for batch in made]


def test_every_row_comes_once_in_mixed_order() -> None:
    found = rows([8] * 10, batch_size=16, steps=5, window=1000)
    assert [len(batch) for batch in found] == [16] * 5
    flat = [row for batch in found for row in batch]
    assert sorted(flat) == list(range(80))
    assert flat != sorted(flat)
    assert max(found[0]) > 40  # from all of the stream


def test_the_seed_decides_and_the_cut_into_blocks_does_not() -> None:
    one = rows([10, 0, 30], batch_size=7, steps=5, window=1000, seed=3)
    assert one == rows([25, 15], batch_size=7, steps=5, window=1000, seed=3)
    assert one != rows([25, 15], batch_size=7, steps=5, window=1000, seed=4)


def test_a_window_bounds_how_far_rows_travel() -> None:
    found = rows([8] * 10, batch_size=8, steps=10, window=16)
    assert max(max(batch) for batch in found[:2]) < 16
    assert sorted(row for batch in found for row in batch) == list(range(80))


def test_a_stream_that_is_short_of_rows_makes_all_steps() -> None:
    found = rows([5, 4], batch_size=4, steps=4, window=1000)
    assert [len(batch) for batch in found] == [4] * 4
    assert all(len(set(batch)) == 4 for batch in found)
    assert rows([3], batch_size=8, steps=1, window=1)[0] != []
    assert len(rows([3], batch_size=8, steps=1, window=1)[0]) == 3


def test_a_stream_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no image"):
        rows([0, 0], batch_size=4, steps=1, window=10)
