"""Masks as COCO run-length encodings.

Encoding and decoding are NumPy's, not pycocotools', whose C code looks at every pixel and trusts what it is
given; here only changes from one pixel to the next are looked at, so it is several times as fast, and runs
that do not fit are refused. What pycocotools knows of RLEs without decoding them is taken from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from cvcore.ops.rle import Runs, read_runs, write_runs

Rle = Mapping[str, Any]
"""`{"size": [H, W], "counts": str}`; COCO's files may have the lengths of runs in place of the text."""

_CHUNK_PIXELS = 2**21


def encode_rle(masks: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """COCO compressed RLE of masks, (N, H, W) bool: `{"size": [H, W], "counts": str}` each."""
    num, height, width = masks.shape
    step = max(1, _CHUNK_PIXELS // max(1, height * width))
    texts = [text for first in range(0, num, step) for text in _texts(masks[first : first + step])]
    return [{"size": [height, width], "counts": text} for text in texts]


def _texts(masks: npt.NDArray[np.bool_]) -> list[str]:
    num, height, width = masks.shape
    size = height * width
    if not size:
        return ["0"] * num
    index, rows, columns = np.unravel_index(np.flatnonzero(_changes(masks)), masks.shape)
    # Where values change, counted along the columns of all masks; sorted, since they are found along rows.
    places = np.sort(index * size + columns * height + rows)
    counts = np.bincount(index, minlength=num)
    ends = np.insert(places, np.cumsum(counts), size * np.arange(1, num + 1))
    starts = np.append(0, np.cumsum(counts + 1)[:-1])
    return write_runs(np.diff(ends, prepend=0), starts.tolist())


def _changes(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which pixels differ from the one before, down the columns; before the first is none inside."""
    changes = np.empty(masks.shape, bool)
    np.not_equal(masks[:, 1:], masks[:, :-1], out=changes[:, 1:])
    np.not_equal(masks[:, 0, 1:], masks[:, -1, :-1], out=changes[:, 0, 1:])
    changes[:, 0, 0] = masks[:, 0, 0]
    return changes


def decode_rle(rle: Rle, *, height: int, width: int) -> npt.NDArray[np.bool_]:
    """The (height, width) bool mask of one COCO RLE.

    Raises:
        ValueError: if it is not a whole mask of that size.
    """
    runs = mask_runs(rle)
    if list(rle["size"]) != [height, width]:
        raise ValueError(_another_size(rle, height, width))
    inside = np.zeros(len(runs), bool)
    inside[1::2] = True
    mask: npt.NDArray[np.bool_] = np.repeat(inside, runs).reshape(width, height).T
    return mask


def mask_runs(rle: Rle) -> Runs:
    """Lengths of an RLE's runs, outside first.

    Raises:
        ValueError: if they do not cover its mask, or it is no RLE.
    """
    size = rle.get("size")
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(isinstance(side, int) and side >= 0 for side in size)
    ):
        raise ValueError(f"an RLE's size is [height, width], got {size!r}")
    runs = read_runs(rle.get("counts"))
    if int(runs.sum()) != size[0] * size[1]:
        raise ValueError(
            f"an RLE's runs do not cover its mask: {int(runs.sum())} of {size[0] * size[1]} pixels"
        )
    return runs


def mask_area(rle: Rle) -> int:
    """Pixels inside; raises `ValueError` for what is no RLE."""
    return int(mask_runs(rle)[1::2].sum())


def mask_box(rle: Rle) -> tuple[int, int, int, int] | None:
    """The box, xyxy in pixels, of the pixels inside; None where there are none.

    Raises:
        ValueError: for what is no RLE.
    """
    runs = mask_runs(rle)
    height = rle["size"][0]
    ends = np.cumsum(runs)
    firsts, stops = (ends - runs)[1::2], ends[1::2]
    there = stops > firsts
    if not there.any():
        return None
    firsts, lasts = firsts[there], stops[there] - 1
    x0, x1 = int(firsts[0]) // height, int(lasts[-1]) // height + 1
    if ((firsts // height) != (lasts // height)).any():  # one goes on in the next column
        return x0, 0, x1, height
    return x0, int((firsts % height).min()), x1, int((lasts % height).max()) + 1


def mask_iou(
    found: Sequence[Rle], truth: Sequence[Rle], crowd: Sequence[bool] | None = None
) -> npt.NDArray[np.float64]:
    """(F, T) intersection over union of RLEs of one size; of a crowd, the share of what was found.

    Raises:
        ValueError: for what is no RLE.
    """
    if not found or not truth:
        return np.zeros((len(found), len(truth)))
    flags = [False] * len(truth) if crowd is None else list(crowd)
    ious: npt.NDArray[np.float64] = np.asarray(coco_mask.iou(_checked(found), _checked(truth), flags))
    return ious


def segmentation_rle(segmentation: Any, *, height: int, width: int) -> dict[str, Any]:
    """A segmentation in any of COCO's three forms as compressed RLE: polygons, lengths, or text.

    Raises:
        ValueError: for what is none of an image of that size.
    """
    if not isinstance(segmentation, Mapping):
        return draw_polygons(segmentation, height=height, width=width)
    runs = mask_runs(segmentation)
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(_another_size(segmentation, height, width))
    return {"size": [int(height), int(width)], "counts": write_runs(runs, [0])[0]}


def draw_polygons(polygons: Sequence[Sequence[float]], *, height: int, width: int) -> dict[str, Any]:
    """The RLE of COCO's polygons (x, y, x, y ... in pixels), as pycocotools draws them, together.

    Raises:
        ValueError: for what are no polygons of at least three points.
    """
    try:
        parts = [[float(value) for value in part] for part in polygons]
    except (TypeError, ValueError) as error:
        raise ValueError(f"polygons are lists of numbers, got {str(polygons)[:100]}") from error
    if not parts or any(len(part) < 6 or len(part) % 2 or not np.isfinite(part).all() for part in parts):
        raise ValueError(f"polygons have three points and more, x and y each, got {str(polygons)[:100]}")
    drawn = coco_mask.merge(coco_mask.frPyObjects(parts, height, width))
    return {"size": [int(height), int(width)], "counts": drawn["counts"].decode("ascii")}


def _another_size(rle: Rle, height: int, width: int) -> str:
    return f"an RLE of {height} x {width} pixels is needed, this one is of {list(rle['size'])}"


def _checked(rles: Sequence[Rle]) -> list[dict[str, Any]]:
    """As pycocotools takes them: it trusts the runs."""
    found = []
    for rle in rles:
        (text,) = write_runs(mask_runs(rle), [0])
        found.append({"size": list(rle["size"]), "counts": text.encode("ascii")})
    return found
