"""An object as a seekable file: read by range, ahead of a reader that goes straight on."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

BLOCK_BYTES = 256 * 2**10
MAX_FETCH_BLOCKS = 32
MAX_KEPT_BLOCKS = 64


class RangedObject(io.RawIOBase):
    """Fetches blocks as they are read and keeps the last 16 MiB of them.

    A reader that goes straight on is fetched for ahead, twice as much each time up to 8 MiB; one that jumps
    gets one block.

    Args:
        fetch: `fetch(start, stop)` gives those bytes of the object, exactly.
        size: of the object, bytes.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next_block = -1  # the one that a reader who goes straight on asks for
        self._ahead = 1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise ValueError(f"cannot seek to {origin + offset}: a file begins at 0")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        target = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, BLOCK_BYTES)
        if self._position >= self._size or not len(target):
            return 0
        found = self._block(number)[offset : offset + len(target)]
        target[: len(found)] = found
        self._position += len(found)
        return len(found)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            self._ahead = min(self._ahead * 2, MAX_FETCH_BLOCKS) if number == self._next_block else 1
            start, stop = number * BLOCK_BYTES, min((number + self._ahead) * BLOCK_BYTES, self._size)
            body = self._fetch(start, stop)
            for at in range(0, len(body), BLOCK_BYTES):
                self._blocks[number + at // BLOCK_BYTES] = body[at : at + BLOCK_BYTES]
            self._next_block = number + self._ahead
            while len(self._blocks) > MAX_KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[number]
