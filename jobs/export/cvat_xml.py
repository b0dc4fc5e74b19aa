"""What CVAT's XML for images and for videos have in common. https://docs.cvat.ai/docs/other/xml_format"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from jobs.export.rows import Found
from jobs.export.writer import Facts, found_mask
from jobs.visible import visible

ATTRIBUTES = ("score", "number", "track_id", "interpolated")
"""What labels declare beyond what CVAT knows, all as text."""


def start(facts: Facts, *, mode: str, name: str, more: str = "") -> str:
    """The head of a document, up to its first image or track.

    Args:
        facts: of the run.
        mode: `annotation` of images, `interpolation` of a video.
        name: of the task.
        more: elements that only one of the two has.
    """
    attributes = "".join(
        f"<attribute><name>{each}</name><mutable>True</mutable><input_type>text</input_type>"
        "<default_value></default_value><values></values></attribute>"
        for each in ATTRIBUTES
    )
    labels = "".join(
        f"<label><name>{escape(label)}</name><type>any</type><attributes>{attributes}</attributes></label>\n"
        for label in facts.labels
    )
    partial = "<partial>True</partial>" if facts.partial else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><name>{escape(visible(name))}</name><mode>{mode}</mode>{more}\n<labels>\n{labels}</labels></task>\n"
        f"<source>{escape(visible(facts.run))}</source><model>{escape(visible(facts.model_version))}</model>{partial}</meta>\n"
    )


END = "</annotations>\n"


def element(tag: str, values: Mapping[str, Any], inner: str = "") -> str:
    """One element on a line."""
    attributes = "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())
    return f"<{tag}{attributes}>{inner}</{tag}>\n" if inner else f"<{tag}{attributes}/>\n"


def corners(found: Found) -> dict[str, Any]:
    """A box's attributes, in full precision."""
    return dict(zip(("xtl", "ytl", "xbr", "ybr"), map(repr, found.box), strict=True))


def attributes_of(found: Found) -> str:
    """The `<attribute>` elements of a detection, those that say something."""
    known = {
        "score": None if found.score is None else repr(found.score),
        "number": found.number,
        "track_id": found.track_id,
        "interpolated": "true" if found.interpolated else None,
    }
    return "".join(
        f'<attribute name="{name}">{known[name]}</attribute>'
        for name in ATTRIBUTES
        if known[name] is not None
    )


def mask_values(found: Found) -> dict[str, Any] | None:
    """`rle`, `left`, `top`, `width`, `height`: runs of 0 and 1 in turn, by rows of the mask's own extent.

    None where there is no mask, or none of its pixels is set.
    """
    if found.mask is None:
        return None
    mask = found_mask(found.mask)
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    flat = mask[top:bottom, left:right].reshape(-1)
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
    runs = np.diff(cuts).tolist()
    if flat[0]:
        runs.insert(0, 0)
    extent = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"rle": ", ".join(map(str, runs)), **extent}
