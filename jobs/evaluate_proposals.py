"""Measuring a propose run against ground truth in COCO's format."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cvcore.errors import SpecError
from cvcore.metrics.proposals import CoveredImage, ProposalMetrics, evaluate_proposals
from jobs.evaluate import ImageIndex, iter_rows, read_truth
from jobs.run_folder import RunFolder, read_job
from jobs.storage import Access, open_store, resolve_location


@dataclass(frozen=True)
class ProposalEvaluation:
    """A run's metrics over the ground truth's images, those that it lacks or that failed in it included."""

    metrics: ProposalMetrics
    num_missing: int
    num_failed: int


def is_propose_run(run: str, access: Access) -> bool:
    """Whether a folder is the --out of a propose job."""
    folder = RunFolder(resolve_location(run).rstrip("/"))
    record = read_job(folder, open_store(folder.uri, access))
    return record is not None and record.job == "propose"


def evaluate_proposal_run(run: str, truth: str, *, access: Access) -> ProposalEvaluation:
    """Compare a run's proposals with the objects of COCO ground truth, crowds apart.

    Images are found by file name. One that failed, or is not in the run, has no proposals.

    Raises:
        SpecError: if nothing of the ground truth is in the run, or it is not COCO.
    """
    ground_truth = read_truth(resolve_location(truth), access)
    objects = _objects(ground_truth)
    images = ImageIndex(ground_truth["images"])
    seen: set[int] = set()
    failed = 0

    def covered() -> Iterator[CoveredImage]:
        nonlocal failed
        folder = RunFolder(resolve_location(run).rstrip("/"))
        for row in iter_rows(folder, access, column="proposals"):
            image_id = images.find(row["uri"])
            if image_id is None or image_id in seen:
                continue
            seen.add(image_id)
            failed += row["status"] != "ok"
            yield _covered([each["box"] for each in row["proposals"] or ()], objects[image_id])
        for image in ground_truth["images"]:
            if image["id"] not in seen:
                yield _covered([], objects[image["id"]])

    metrics = evaluate_proposals(covered())
    if not seen:
        raise SpecError(f"no image of {truth} is in the run {run}: file names are compared from their end")
    return ProposalEvaluation(metrics, len(ground_truth["images"]) - len(seen), failed)


def _objects(ground_truth: dict[str, Any]) -> defaultdict[int, list[tuple[list[float], str]]]:
    """By image: the xyxy box and class of each object."""
    names = {category["id"]: str(category["name"]) for category in ground_truth["categories"]}
    found: defaultdict[int, list[tuple[list[float], str]]] = defaultdict(list)
    for annotation in ground_truth["annotations"]:
        if not annotation.get("iscrowd", 0):
            x, y, width, height = annotation["bbox"]
            box = [x, y, x + width, y + height]
            found[annotation["image_id"]].append((box, names[annotation["category_id"]]))
    return found


def _covered(boxes: list[list[float]], objects: list[tuple[list[float], str]]) -> CoveredImage:
    return CoveredImage(
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array([box for box, _ in objects], np.float64).reshape(-1, 4),
        tuple(label for _, label in objects),
    )
