"""How far into its file the first picture of a TIFF reaches (TIFF 6.0, section 2; BigTIFF)."""

from __future__ import annotations

import struct

_TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, byte counts


def tiff_extent(data: bytes) -> int:
    """Return the bytes that a whole file has at least: its first directory, that one's values and pixels.

    More than `len(data)` means that the file was cut short. Damaged entries are skipped: this measures, and
    the decoder judges.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # Formats of: the directory's offset, its number of entries, one entry (tag, type, count) and its value.
    pointer, count, entry, inline = ("Q", "Q", "HHQ", 8) if big else ("I", "H", "HHI", 4)
    try:
        (directory,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
        (entries,) = struct.unpack_from(order + count, data, directory)
    except struct.error:
        return len(data) + 1
    start = directory + struct.calcsize(order + count)
    step = struct.calcsize(order + entry) + inline
    extent: int = start + entries * step
    found: dict[int, tuple[int, ...]] = {}
    for at in range(start, min(extent, len(data) - step + 1), step):
        tag, kind, number = struct.unpack_from(order + entry, data, at)
        size = number * _TYPE_BYTES.get(kind, 0)
        value_at = at + step - inline
        if size > inline:
            (value_at,) = struct.unpack_from(order + pointer, data, value_at)
            extent = max(extent, value_at + size)
        if tag in (*_STRIPS, *_TILES) and kind in _UNSIGNED and value_at + size <= len(data):
            found[tag] = struct.unpack_from(f"{order}{number}{_UNSIGNED[kind]}", data, value_at)
    for offsets, counts in (_STRIPS, _TILES):
        pieces = zip(found.get(offsets, ()), found.get(counts, ()), strict=False)
        extent = max([extent, *(offset + length for offset, length in pieces)])
    return extent
