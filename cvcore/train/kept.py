"""What a run learns from: read once, kept as far as memory is allowed, then read again when it is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar, overload

from cvcore.errors import ImageError

T = TypeVar("T")

READERS = 4
AT_ONCE = 64
NO_LIMIT = 2**62

Read = Callable[[], T]
"""Reads one item; again it gives the same. Raises `ImageError` for one that cannot be used."""


class Kept(Sequence[T]):
    """Items in their order, each either kept or read again. Safe for several threads.

    Args:
        reads: how each is read.
        items: those that are kept, by their place.
    """

    def __init__(self, reads: Sequence[Read[T]], items: dict[int, T]) -> None:
        self._reads, self._items = tuple(reads), items

    def __len__(self) -> int:
        return len(self._reads)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        place = range(len(self))[index]
        return self._items[place] if place in self._items else self._reads[place]()

    def __iter__(self) -> Iterator[T]:
        for first in range(0, len(self), AT_ONCE):
            yield from self[first : first + AT_ONCE]

    def take(self, indices: Sequence[int]) -> list[T]:
        """Some items, in the order asked for; what is not kept is read by several threads."""
        missing = [index for index in dict.fromkeys(indices) if index not in self._items]
        read: dict[int, T] = {}
        if missing:
            with ThreadPoolExecutor(READERS) as pool:
                read = dict(zip(missing, pool.map(self.__getitem__, missing), strict=True))
        return [self._items[index] if index in self._items else read[index] for index in indices]

    def extended(self, extend: Callable[[T], Callable[[T], T]]) -> Kept[T]:
        """The same items with something more, which is worked out once and kept.

        Args:
            extend: is shown each item once, and gives what adds to it, then and whenever it is read again.
        """
        reads, items = [], {}
        for index, read in enumerate(self._reads):
            item = self[index]
            add = extend(item)
            reads.append(_then(read, add))
            if index in self._items:
                items[index] = add(item)
        return Kept(reads, items)


@dataclass(frozen=True, slots=True)
class FirstReading(Generic[T]):
    """What `read_all` found.

    Attributes:
        kept: the items that can be used.
        places: of them among those that were to be read.
        failures: the others, counted by why.
    """

    kept: Kept[T]
    places: tuple[int, ...]
    failures: Counter[str] = field(default_factory=Counter)


def read_all(reads: Sequence[Read[T]], size: Callable[[T], int], *, max_bytes: int) -> FirstReading[T]:
    """Read every item once, by several threads.

    Args:
        reads: how each is read.
        size: bytes that an item takes.
        max_bytes: of items that are kept, the first ones first.
    """
    good: list[Read[T]] = []
    items: dict[int, T] = {}
    places: list[int] = []
    failures: Counter[str] = Counter()
    with ThreadPoolExecutor(READERS) as pool:
        for first in range(0, len(reads), AT_ONCE):
            some = reads[first : first + AT_ONCE]
            for place, (read, found) in enumerate(zip(some, pool.map(_tried, some), strict=True), first):
                if isinstance(found, ImageError):
                    failures[found.code] += 1
                    continue
                if size(found) <= max_bytes:
                    max_bytes -= size(found)
                    items[len(good)] = found
                good.append(read)
                places.append(place)
    return FirstReading(Kept(good, items), tuple(places), failures)


def take(items: Sequence[T], indices: Sequence[int]) -> list[T]:
    """`Kept.take`, of any sequence."""
    return items.take(indices) if isinstance(items, Kept) else [items[index] for index in indices]


def _tried(read: Read[T]) -> T | ImageError:
    try:
        return read()
    except ImageError as error:
        return error


def _then(read: Read[T], add: Callable[[T], T]) -> Read[T]:
    return lambda: add(read())
