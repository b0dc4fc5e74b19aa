from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest

from cvcore.errors import ImageError
from cvcore.train.kept import Kept, read_all, take

Item = npt.NDArray[np.uint8]
NUM, BYTES = 150, 10
BAD = {3, 77}


class Files:
    """Items of `BYTES` each, two of which cannot be read; counts how often each is."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def read(self, number: int) -> Item:
        self.counts[number] += 1
        if number in BAD:
            raise ImageError("corrupt", f"{number}")
        return np.full(BYTES, number, np.uint8)

    def reads(self) -> list[Callable[[], Item]]:
        return [partial(self.read, number) for number in range(NUM)]


GOOD = [number for number in range(NUM) if number not in BAD]


def numbers(items: list[Item]) -> list[int]:
    return [int(item[0]) for item in items]


@pytest.mark.parametrize("num_kept", [0, 40, NUM])
def test_items_are_the_same_kept_or_read_again(num_kept: int) -> None:
    files = Files()
    found = read_all(files.reads(), lambda item: item.nbytes, max_bytes=num_kept * BYTES)
    assert found.failures == {"corrupt": 2}
    assert list(found.places) == GOOD
    assert files.counts == dict.fromkeys(range(NUM), 1)
    assert len(found.kept) == len(GOOD)
    assert numbers(list(found.kept)) == GOOD
    assert numbers(found.kept[5:9]) == GOOD[5:9]
    assert numbers(found.kept[-1:]) == [int(found.kept[-1][0])] == GOOD[-1:]
    assert numbers(found.kept.take([90, 2, 90])) == [GOOD[90], GOOD[2], GOOD[90]]
    again = [number for number in GOOD if files.counts[number] > 1]
    assert again == GOOD[min(num_kept, len(GOOD)) :]
    with pytest.raises(IndexError):
        found.kept[len(GOOD)]


def test_what_is_added_once_is_there_whenever_an_item_is_read_again() -> None:
    files, worked_out = Files(), []
    found = read_all(files.reads(), lambda item: item.nbytes, max_bytes=20 * BYTES)

    def extend(item: Item) -> Callable[[Item], Item]:
        worked_out.append(int(item[0]))
        more = item[:1] + 1
        return lambda again: np.concatenate([again, more])

    extended = found.kept.extended(extend)
    for _ in range(2):
        assert [item[[0, -1]].tolist() for item in extended] == [[n, n + 1] for n in GOOD]
    assert worked_out == GOOD


def test_any_sequence_is_taken_from() -> None:
    assert take(["a", "b", "c"], [2, 0]) == ["c", "a"]
    assert take(Kept([lambda: "a", lambda: "b"], {}), [1]) == ["b"]
