"""What `veedor evaluate --out` leaves of a segmenter, or of its run: figures as JSON, and a page."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np

from jobs.evaluate_maps import MapEvaluation
from jobs.evaluate_segmenter import BATCH, SegmenterEvaluation
from jobs.evaluation_files import JSON_NAME, PAGE_NAME, plain_json
from jobs.masks import open_masks
from jobs.report import text
from jobs.report.segmentation import SegmentationPage, render_segmentation
from jobs.report.views import Counter
from jobs.storage import Access, join, open_store, resolve_location
from jobs.visible import visible
from jobs.worst_maps import WorstMaps


def write_segmentation(
    found: SegmenterEvaluation | MapEvaluation,
    worst: WorstMaps,
    *,
    name: str,
    data: str,
    split: str | None,
    out: str,
    access: Access,
) -> str:
    """Write both files into a folder, over what an earlier call left there; returns the page's location.

    Args:
        found: the figures.
        worst: the images that are shown.
        name: of the model, or of the run.
        data, split: what it was measured on.
        out: the folder.
        access: to it, and to the dataset's images.

    Raises:
        StorageError: if the folder cannot be written.
    """
    folder = resolve_location(out)
    store = open_store(folder, access)
    facts = [("Images", text.integer(found.num_images))]
    if split is not None:
        facts.insert(0, ("Split", visible(split)))
    speed: list[Counter] = []
    if isinstance(found, SegmenterEvaluation):
        facts.append(("Device", found.device))
        speed = [
            Counter("Images/s", text.decimal(found.images_per_s), f"batches of {BATCH}"),
            Counter("One image", f"{1000 * found.latency_p50_s:.1f} ms", "median"),
            Counter("Parameters", f"{found.num_parameters / 1e6:.2f} M"),
        ]
    page = SegmentationPage(
        heading=name,
        data=data,
        facts=facts,
        warnings=_warnings(found),
        speed=speed,
        labels=found.labels,
        metrics=found.metrics,
        counts=np.array(found.counts, np.int64),
        worst=worst.worst_first(),
    )
    body = render_segmentation(page, open_masks(data, access).files.read)
    store.put(join(folder, JSON_NAME), json.dumps(plain_json(asdict(found)), indent=1).encode())
    target = join(folder, PAGE_NAME)
    store.put(target, body.encode())
    return target


def _warnings(found: SegmenterEvaluation | MapEvaluation) -> list[str]:
    warnings = []
    if found.num_failed:
        what = "failed in the run" if isinstance(found, MapEvaluation) else "or their masks could not be used"
        warnings.append(f"{text.plural(found.num_failed, 'image')} {what}, and count in no figure.")
    if isinstance(found, MapEvaluation) and found.num_missing:
        warnings.append(f"{text.plural(found.num_missing, 'image')} of the masks are not in the run.")
    return warnings
