"""A dataset's files, wherever they are."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from cvcore.datasets.problems import ProblemLog
from cvcore.errors import ImageError
from cvcore.image.decode import open_image, read_size
from cvcore.image.sniff import format_of_extension

ReadFile = Callable[[str], bytes]
"""Reads a file by its name inside the dataset's folder."""

Size = tuple[int, int]
"""Width and height, pixels, upright."""

T = TypeVar("T")
_NUM_THREADS = 16
_WAVE = 4096
_HEADER_BYTES = 64 * 2**10


@dataclass(frozen=True, slots=True)
class Files:
    """What a dataset's folder holds.

    Attributes:
        names: of all its files, paths inside it, sorted.
        read: a file whole.
        read_start: a file's first bytes, at most so many; called from several threads, as `read` is.
    """

    names: tuple[str, ...]
    read: ReadFile
    read_start: Callable[[str, int], bytes]

    def map(self, work: Callable[[str], T], names: Iterable[str]) -> Iterator[T]:
        """Results of something that waits for files, in order, several at a time."""
        with ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="veedor-dataset") as pool:
            rest = iter(names)
            while wave := list(islice(rest, _WAVE)):
                yield from pool.map(work, wave)

    def below(self, folder: str) -> Iterator[str]:
        """Names below a folder of the dataset; of all files for the empty one."""
        prefix = folder.rstrip("/") + "/" if folder else ""
        return (name for name in self.names if name.startswith(prefix))


def inner_name(*parts: str) -> str | None:
    """A path inside the dataset's folder in its one form; None for what leads out of it, or may."""
    joined = posixpath.join(*parts)
    if not joined or "\0" in joined or "\\" in joined or joined.startswith("/"):
        return None
    path = posixpath.normpath(joined)
    return None if path == ".." or path.startswith("../") or path.startswith("/") else path


def is_image(name: str) -> bool:
    """Whether a file is named as images are."""
    return format_of_extension(name) is not None


def read_sizes(
    files: Files, names: Iterable[str], log: ProblemLog, *, decode: bool = False
) -> dict[str, Size | None]:
    """The upright size of each image, or None, noted in the log, for one that cannot be read.

    Of JPEGs only the beginning is read, unless `decode` asks to decode all pixels.
    """
    wanted = list(names)

    def look(name: str) -> Size | str:
        try:
            return _decoded_size(files, name) if decode else _stated_size(files, name)
        except ImageError as error:
            return str(error)

    found: dict[str, Size | None] = {}
    for name, size in zip(wanted, files.map(look, wanted), strict=True):
        if isinstance(size, str):
            log.add("image_unreadable", size)
        found[name] = None if isinstance(size, str) else size
    return found


def _decoded_size(files: Files, name: str) -> Size:
    return open_image(files.read(name), name=name).size


def _stated_size(files: Files, name: str) -> Size:
    if format_of_extension(name) == "JPEG":
        start = files.read_start(name, _HEADER_BYTES)
        try:
            return read_size(start, name=name)
        except ImageError:
            if len(start) < _HEADER_BYTES:
                raise
    # Other formats may say behind their pixels how they are turned, and a JPEG's header may be long.
    return read_size(files.read(name), name=name)
