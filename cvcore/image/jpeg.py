"""How many passes over its pixels a JPEG asks for (ITU-T T.81, annex B)."""

from __future__ import annotations

import re

# A marker, behind any fill bytes; in coded data FF is followed by 00 or a restart marker.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_END, _SCAN = 0xD9, 0xDA
_ALONE = (0x01, 0xD8)
_PROGRESSIVE = (0xC2, 0xCA)
_FRAMES = (0xC0, 0xC1, 0xC9, *_PROGRESSIVE)


def count_scans(data: bytes, *, limit: int) -> int:
    """Return the number of scans that a decoder works through; counting ends above `limit`.

    Each one is a pass over the whole picture that costs the file a dozen bytes. Usual progressive files have
    about ten.
    """
    at, scans, components, progressive = 2, 0, 0, False
    while scans <= limit and (found := _MARKER.search(data, at)):
        marker, at = found[1][0], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        if marker in _FRAMES and at + 7 < len(data):
            components, progressive = data[at + 7], marker in _PROGRESSIVE
        if marker == _SCAN:
            scans += 1
            if not progressive and data[at + 2 : at + 3] == bytes([components]):
                break  # All components at once: decoders stop behind this one.
        at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans
