"""A run's videos, one after the other, and files of the MOT Challenge that belong to them by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from cvcore.errors import SpecError
from jobs.outcome import refuse_without_boxes
from jobs.report.run import read_run
from jobs.sink import decode_part
from jobs.storage import Access, Store, open_store, resolve_location

_MOT_FOLDERS = ("det", "gt")


def sequence_name(uri: str) -> str:
    """The name of a video, or of MOT text: `<name>.txt`, `<name>/gt/gt.txt` or `<name>/det/det.txt`."""
    path = PurePosixPath(uri)
    if path.parent.name in _MOT_FOLDERS and path.stem == path.parent.name:
        return path.parent.parent.name
    return path.stem


def run_videos(run: str, access: Access) -> Iterator[tuple[str, Iterator[pa.Table]]]:
    """Each video of a run with its rows in frame order, a few at a time. Take a video's rows before the next.

    Raises:
        SpecError: if the folder is not a run's, or holds no detections.
    """
    uri = resolve_location(run)
    store = open_store(uri, access)
    found = read_run(uri, store)
    refuse_without_boxes((found.manifest or {}).get("counts") or {}, uri)
    return _by_video(_video_rows(found.parts, store))


def _video_rows(parts: Iterable[str], store: Store) -> Iterator[tuple[str, pa.Table]]:
    """Pieces of rows of one video each, images left out."""
    for part in parts:
        rows = decode_part(store.read(part))
        rows = rows.filter(pc.is_valid(rows.column("frame_index")))
        start = 0
        uris = rows.column("uri").to_pylist()
        for index in range(1, len(uris) + 1):
            if index == len(uris) or uris[index] != uris[start]:
                yield uris[start], rows.slice(start, index - start)
                start = index


def _by_video(pieces: Iterator[tuple[str, pa.Table]]) -> Iterator[tuple[str, Iterator[pa.Table]]]:
    piece = next(pieces, None)

    def rows_of(uri: str) -> Iterator[pa.Table]:
        nonlocal piece
        while piece is not None and piece[0] == uri:
            yield piece[1]
            piece = next(pieces, None)

    while piece is not None:
        rows = rows_of(piece[0])
        yield piece[0], rows
        for _ in rows:  # whatever was not taken
            pass


def find_texts(location: str, access: Access) -> dict[str, str]:
    """Locations of MOT text by the name of their sequence: of one file, or of all below a folder.

    Raises:
        SpecError: if there are none, or two have one name.
    """
    uri = resolve_location(location)
    found: dict[str, str] = {}
    for info in open_store(uri, access).walk(uri):
        if info.uri != uri and not info.uri.endswith(".txt"):
            continue
        name = sequence_name(info.uri)
        if name == "labels":
            continue
        if name in found:
            raise SpecError(f"{found[name]} and {info.uri} are both of a sequence {name!r}: keep one")
        found[name] = info.uri
    if not found:
        raise SpecError(f"there is no MOT text (.txt) at or below {location}")
    return found


def read_text(uri: str, access: Access) -> str:
    """A text file; `SpecError` if it is not UTF-8."""
    try:
        return open_store(uri, access).read(uri).decode()
    except UnicodeDecodeError as error:
        raise SpecError(f"{uri} is no MOT text: it is not UTF-8") from error
