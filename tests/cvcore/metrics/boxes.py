"""Small datasets of boxes as COCO documents and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]


def truth_of(objects: Sequence[tuple[int, str, Box, str]], *, labels: str = "abc") -> dict[str, Any]:
    """Objects as (image, label, xyxy, "" or "difficult" or "crowd")."""
    ids = {name: k for k, name in enumerate(labels, start=1)}
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": ids[label],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": int(flag == "crowd"),
            **({"difficult": True} if flag == "difficult" else {}),
        }
        for number, (image, label, (x1, y1, x2, y2), flag) in enumerate(objects, start=1)
    ]
    images = sorted({image for image, *_ in objects})
    return {
        "images": [{"id": k, "height": 400, "width": 400} for k in images],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }


def results_of(found: Sequence[tuple[int, str, Box, float]], *, labels: str = "abc") -> list[dict[str, Any]]:
    """Detections as (image, label, xyxy, score)."""
    ids = {name: k for k, name in enumerate(labels, start=1)}
    return [
        {"image_id": image, "category_id": ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for image, label, (x1, y1, x2, y2), score in found
    ]


def random_case(seed: int, *, num_images: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects, some difficult, and noisy detections of them with doubles, confusions and chance hits."""
    rng = np.random.default_rng(seed)
    objects: list[tuple[int, str, Box, str]] = []
    found: list[tuple[int, str, Box, float]] = []
    for image in range(1, num_images + 1):
        for _ in range(int(rng.integers(1, 7))):
            x, y, w, h = (*rng.uniform(0, 250, 2).tolist(), *rng.uniform(15, 120, 2).tolist())
            label = "abc"[int(rng.integers(3))]
            objects.append((image, label, (x, y, x + w, y + h), "difficult" if rng.random() < 0.2 else ""))
            for _ in range(int(rng.integers(0, 3))):
                dx, dy, dw, dh = rng.normal(0, 8, 4).tolist()
                seen = label if rng.random() < 0.8 else "abc"[int(rng.integers(3))]
                box = (x + dx, y + dy, x + dx + max(4, w + dw), y + dy + max(4, h + dh))
                found.append((image, seen, box, round(float(rng.random()), 2)))
        x, y = rng.uniform(0, 300, 2).tolist()
        found.append((image, "abc"[int(rng.integers(3))], (x, y, x + 30, y + 30), float(rng.random())))
    return truth_of(objects), results_of(found)
