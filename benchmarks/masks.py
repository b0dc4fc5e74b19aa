"""Masks to COCO's run lengths and back, and to polygons, beside pycocotools and OpenCV in one process.

    python benchmarks/masks.py [--json]

Masks are what a detector gives: (N, H, W) of booleans. pycocotools takes columns, so bringing them into that
order is part of its time, as it is for whoever uses it; what decoding gives is left as each gives it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from common import Claim, argument_parser, report
from pycocotools import mask as coco_mask

from cvcore.ops.masks import decode_rle, encode_rle
from cvcore.ops.outlines import mask_polygons

CASES = {
    "100 of 640x480": (100, 480, 640),
    "20 of 1024x1024": (20, 1024, 1024),
    "1 of 6000x4000": (1, 4000, 6000),
}
REPEATS = 7


def blobs(num: int, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Wavy discs of many sizes."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    masks = np.zeros((num, height, width), bool)
    for mask in masks:
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(10, height / 4)
        angle = np.arctan2(rows - y, columns - x)
        mask[:] = np.hypot(rows - y, columns - x) < radius * (1 + 0.2 * np.sin(9 * angle))
    return masks


def best_s(*functions: Callable[[], Any]) -> list[float]:
    """The least time of each, taken in turns."""
    times = [[] for _ in functions]
    for _ in range(REPEATS):
        for function, own in zip(functions, times, strict=True):
            began = time.perf_counter()
            function()
            own.append(time.perf_counter() - began)
    return [min(own) for own in times]


def measure(num: int, height: int, width: int) -> dict[str, float]:
    """Times of both, milliseconds."""
    masks = blobs(num, height, width)
    ours = encode_rle(masks)
    theirs = [{**rle, "counts": rle["counts"].encode()} for rle in ours]

    def encode() -> Any:
        return coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0).astype(np.uint8)))

    assert [rle["counts"] for rle in encode()] == [rle["counts"] for rle in theirs]
    kind = (cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    names = ("encode", "encode_peer", "decode", "decode_peer", "polygons", "polygons_opencv")
    times = best_s(
        lambda: encode_rle(masks),
        encode,
        lambda: [decode_rle(rle, height=height, width=width) for rle in ours],
        lambda: coco_mask.decode(theirs),
        lambda: [mask_polygons(mask) for mask in masks],
        lambda: [cv2.findContours(mask.view(np.uint8), *kind) for mask in masks],
    )
    return {name: round(1000 * seconds, 3) for name, seconds in zip(names, times, strict=True)}


def main() -> None:
    arguments = argument_parser("masks", __doc__ or "").parse_args()
    details = {name: measure(*case) for name, case in CASES.items()}
    claims = []
    for verb in ("encode", "decode"):
        ratios = {name: found[f"{verb}_peer"] / found[verb] for name, found in details.items()}
        worst = min(ratios, key=lambda name: ratios[name])
        claims.append(
            Claim(
                f"masks to RLE and back: {verb}, against pycocotools",
                "as fast",
                ", ".join(f"{name}: {ratio:.1f} times" for name, ratio in ratios.items()),
                ratios[worst] >= 1,
            )
        )
    report("masks", claims, {"milliseconds": details}, arguments.json)


if __name__ == "__main__":
    main()
