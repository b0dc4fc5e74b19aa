"""What is fetched for which reader."""

from __future__ import annotations

from jobs.storage.ranged import BLOCK_BYTES, MAX_FETCH_BLOCKS, MAX_KEPT_BLOCKS, RangedObject


class Fetches:
    """An object of zeros, and the ranges asked of it."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> bytes:
        self.ranges.append((start, stop))
        return bytes(stop - start)

    @property
    def sizes(self) -> list[int]:
        return [(stop - start) // BLOCK_BYTES for start, stop in self.ranges]


def test_a_reader_that_goes_straight_on_is_fetched_for_ahead() -> None:
    fetches = Fetches()
    file = RangedObject(fetches, 200 * BLOCK_BYTES)
    total = 0
    while found := file.read(100_000):
        total += len(found)
    assert total == 200 * BLOCK_BYTES
    assert fetches.sizes[:6] == [1, 2, 4, 8, 16, 32]
    assert max(fetches.sizes) == MAX_FETCH_BLOCKS
    assert sum(fetches.sizes) == 200, "nothing is fetched twice"


def test_a_reader_that_jumps_gets_a_block_at_a_time() -> None:
    fetches = Fetches()
    file = RangedObject(fetches, 200 * BLOCK_BYTES)
    for block in (100, 3, 150, 7):
        file.seek(block * BLOCK_BYTES + 5)
        assert file.read(10) == bytes(10)
    assert fetches.sizes == [1, 1, 1, 1]
    file.seek(7 * BLOCK_BYTES)
    file.read(10)
    assert len(fetches.ranges) == 4, "what is kept is not fetched again"


def test_what_is_kept_is_bounded() -> None:
    file = RangedObject(Fetches(), 1000 * BLOCK_BYTES)
    while file.read(BLOCK_BYTES):
        assert len(file._blocks) <= MAX_KEPT_BLOCKS
