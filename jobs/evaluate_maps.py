"""Measuring a segmenter's run against a dataset of masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from cvcore.datasets.mask_files import read_mask
from cvcore.errors import SpecError
from cvcore.metrics.segmentation import SegmentationMetrics, SegmentationScores
from jobs.evaluate import iter_rows
from jobs.evaluate_model import EVERYTHING
from jobs.masks import open_masks
from jobs.query.dataset import parquet_schema
from jobs.run_folder import RunFolder, part_number, read_job
from jobs.storage import Access, join, open_store, resolve_location
from jobs.worst_maps import WorstMaps


@dataclass(frozen=True)
class MapEvaluation:
    """A run's metrics over the images that it and the dataset have in common.

    Attributes:
        counts: pixels by their true class, and by the one that was found.
        labels: of the metrics' classes.
        num_missing: images of the dataset that are not in the run, or whose masks cannot be used.
        num_failed: that failed in the run; they count in no metric.
    """

    metrics: SegmentationMetrics
    counts: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]
    num_images: int
    num_missing: int
    num_failed: int


def holds_maps(run: str, access: Access) -> bool:
    """Whether a folder is the --out of an annotate job with a segmenter, of which some part is published."""
    folder = RunFolder(resolve_location(run).rstrip("/"))
    store = open_store(folder.uri, access)
    if read_job(folder, store) is None:
        return False
    part = next((name for name in store.list_names(folder.data) if part_number(name) is not None), None)
    return part is not None and "map" in parquet_schema(join(folder.data, part), store).names


def evaluate_maps_of(
    run: str, truth: str, *, access: Access, split: str | None = None, worst: WorstMaps | None = None
) -> MapEvaluation:
    """Compare a run's maps with masks, image by the end of its name.

    Args:
        run: of a segmenter.
        truth: a dataset with masks.
        access: to both.
        split: of the dataset; None, or `all`, for everything.
        worst: is told of every image.

    Raises:
        SpecError: if nothing of the dataset is in the run, or the model names other classes.
    """
    folder = RunFolder(resolve_location(run).rstrip("/"))
    record = read_job(folder, open_store(folder.uri, access))
    assert record is not None, "holds_maps has looked"
    source = open_masks(truth, access)
    dataset = source.read(None if split == EVERYTHING else split)
    labels = tuple(record.model["labels"])
    if labels != dataset.labels:
        raise SpecError(f"{truth} has the classes {dataset.labels}, the run's model {labels}")
    loader, scores = source.loader(dataset), SegmentationScores(len(labels))
    wanted = {PurePosixPath(image.name).parts: image for image in dataset.images}
    lengths = sorted({len(parts) for parts in wanted}, reverse=True)
    seen = failed = unusable = 0
    for row in iter_rows(folder, access, column="map"):
        parts = PurePosixPath(row["uri"]).parts
        image = next((wanted[parts[-n:]] for n in lengths if parts[-n:] in wanted), None)
        if image is None:
            continue
        if row["map"] is None:
            failed += 1
            continue
        mask = loader.load(image, height=row["height"], width=row["width"])
        if mask is None:
            unusable += 1
        else:
            found = read_mask(row["map"], name=row["uri"])
            counts = scores.add(mask, found)
            if worst is not None:
                worst.add(image.name, mask, found, counts)
            seen += 1
    if not seen and unusable:
        raise SpecError(
            f"none of {unusable:,} masks of {truth} whose images are in the run can be used: veedor dataset "
            "check --masks says why"
        )
    if not seen:
        raise SpecError(f"no image of {truth} is in the run {run}: file names are compared from their end")
    missing = len(dataset.images) - seen - failed
    return MapEvaluation(
        scores.result(), tuple(map(tuple, scores.counts.tolist())), labels, seen, missing, failed
    )
