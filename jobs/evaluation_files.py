"""What `veedor evaluate --out` leaves of a detector: the figures as JSON, and a page with its errors."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from jobs.evaluate_model import DetectionSplit, ModelEvaluation
from jobs.report.detection_gallery import false_positive_cards, miss_cards
from jobs.report.evaluation import render_evaluation
from jobs.storage import Access, join, open_store, resolve_location

JSON_NAME, PAGE_NAME = "evaluation.json", "report.html"


def evaluation_content(found: ModelEvaluation) -> dict[str, Any]:
    """All figures as JSON has them; what is not a number is null."""
    content = asdict(found)
    plain: dict[str, Any] = plain_json(content | content.pop("quality"))
    return plain


def plain_json(value: Any) -> Any:
    """The same without NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {str(key): plain_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_evaluation(found: ModelEvaluation, on: DetectionSplit, *, out: str, access: Access) -> str:
    """Write both files into a folder, over what an earlier call left there; returns the page's location.

    Raises:
        StorageError: if the folder cannot be written.
    """
    folder = resolve_location(out)
    store = open_store(folder, access)
    page = evaluation_page(found, on)
    store.put(join(folder, JSON_NAME), json.dumps(evaluation_content(found), indent=1).encode())
    target = join(folder, PAGE_NAME)
    store.put(target, page.encode())
    return target


def evaluation_page(found: ModelEvaluation, on: DetectionSplit) -> str:
    """The page, with pictures of errors read from the dataset."""
    pairs = zip(on.document["images"], on.dataset.images, strict=True)
    records = {int(image["id"]): record for image, record in pairs}
    errors, read = found.quality.errors, on.source.read_image
    return render_evaluation(
        found,
        wrong=false_positive_cards(errors, records, read),
        missed=miss_cards(errors, records, read),
    )
