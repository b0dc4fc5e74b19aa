"""Measuring a run against ground truth in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from cvcore.errors import SpecError
from cvcore.metrics.detection import DetectionMetrics, evaluate_detections
from cvcore.metrics.mask_quality import MaskQuality, assess_masks
from jobs.run_folder import RunFolder, part_number
from jobs.sink import decode_part
from jobs.storage import Access, join, open_store, resolve_location

_OTHERS = {
    "labels": "a classifier's run, with labels",
    "map": "a segmenter's run, with class maps, which a dataset of masks is compared with",
}


@dataclass(frozen=True)
class Evaluation:
    """A run's metrics; `num_images` are those that ground truth and run have in common.

    `masks` are of a run that has some.
    """

    metrics: DetectionMetrics
    num_images: int
    num_missing: int
    num_failed: int
    masks: MaskQuality | None = None


def evaluate_run(run: str, truth: str, *, access: Access) -> Evaluation:
    """Compare a run's detections with COCO ground truth, image by file name and class by name.

    Images of the ground truth that failed in the run, or are not in it, count as looked at in vain.

    Raises:
        SpecError: if nothing of the ground truth is in the run, or it is not COCO.
    """
    ground_truth = read_truth(resolve_location(truth), access)
    images = ImageIndex(ground_truth["images"])
    categories = {category["name"]: category["id"] for category in ground_truth["categories"]}
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    failed = 0
    for row in iter_rows(RunFolder(resolve_location(run)), access):
        image_id = images.find(row["uri"])
        if image_id is None:
            continue
        seen.add(image_id)
        failed += row["status"] != "ok"
        found += _coco_results(row, image_id, categories)
    if not seen:
        raise SpecError(f"no image of {truth} is in the run {run}: file names are compared from their end")
    metrics = evaluate_detections(ground_truth, found)
    masks = assess_masks(ground_truth, found) if any("segmentation" in each for each in found) else None
    return Evaluation(metrics, len(seen), len(ground_truth["images"]) - len(seen), failed, masks)


class ImageIndex:
    """Finds COCO images by the end of a location: `a/b.jpg` matches `s3://bucket/x/a/b.jpg`."""

    def __init__(self, images: list[dict[str, Any]]) -> None:
        self._by_path = {PurePosixPath(image["file_name"]).parts: image["id"] for image in images}
        self._lengths = sorted({len(path) for path in self._by_path}, reverse=True)

    def find(self, uri: str) -> int | None:
        """The id of the image at a location, or None."""
        parts = PurePosixPath(uri).parts
        for length in self._lengths:
            image_id = self._by_path.get(parts[-length:])
            if image_id is not None:
                return int(image_id)
        return None


def read_truth(location: str, access: Access) -> dict[str, Any]:
    """A COCO document; raises `SpecError` for anything else."""
    try:
        content = json.loads(open_store(location, access).read(location))
    except ValueError as error:
        raise SpecError(f"{location} is not JSON: {error}") from error
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise SpecError(f"{location} is not COCO ground truth: it needs images, annotations and categories")
    return content


def iter_rows(folder: RunFolder, access: Access, *, column: str = "detections") -> Iterator[dict[str, Any]]:
    """All rows of a run; raises `SpecError` where there are none, or none that have `column`."""
    store = open_store(folder.uri, access)
    names = [name for name in store.list_names(folder.data) if part_number(name) is not None]
    if not names:
        raise SpecError(f"{folder.uri} holds no results: is it the --out of an annotate job?")
    for name in names:
        table = decode_part(store.read(join(folder.data, name)))
        if column not in table.column_names:
            other = next(
                (what for name, what in _OTHERS.items() if name in table.column_names), "another run"
            )
            raise SpecError(f"{folder.uri} is {other}, without {column}")
        yield from table.to_pylist()


def _coco_results(row: dict[str, Any], image_id: int, categories: dict[str, int]) -> Iterator[dict[str, Any]]:
    for detection in row["detections"] or ():
        if detection["label"] in categories:
            x0, y0, x1, y1 = detection["box"]
            mask = detection.get("mask")
            yield {
                "image_id": image_id,
                "category_id": categories[detection["label"]],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "score": detection["score"],
                **({} if mask is None else {"segmentation": mask}),
            }
