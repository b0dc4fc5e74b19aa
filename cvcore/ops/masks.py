"""Masks as COCO run-length encodings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask


def encode_rle(masks: npt.NDArray[np.bool_]) -> list[dict[str, Any]]:
    """COCO compressed RLE of masks, (N, H, W) bool: `{"size": [H, W], "counts": str}` each."""
    if not len(masks):
        return []
    columns = np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8))
    return [
        {"size": [int(s) for s in rle["size"]], "counts": rle["counts"].decode("ascii")}
        for rle in coco_mask.encode(columns)
    ]


def decode_rle(rle: dict[str, Any], *, height: int, width: int) -> npt.NDArray[np.bool_]:
    """The (height, width) bool mask of one COCO compressed RLE.

    Raises:
        ValueError: if it is not a whole mask of that size.
    """
    counts, size = rle.get("counts"), list(rle.get("size") or [])
    if not counts or size != [height, width]:
        raise ValueError(f"an RLE of {height} x {width} pixels is needed, this one is of {size}")
    body = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    (mask,) = np.moveaxis(coco_mask.decode([{"size": size, "counts": body}]), 2, 0)
    # Runs that end early leave the rest of the array unwritten: then it encodes to something else.
    if coco_mask.encode(np.asfortranarray(mask))["counts"] != body:
        raise ValueError("an RLE's runs do not cover its mask")
    whole: npt.NDArray[np.bool_] = mask.astype(bool)
    return whole
