"""Average precision of masks, beside pycocotools used by hand."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cvcore.metrics.mask_quality import assess_masks
from cvcore.ops.masks import encode_rle, mask_box, mask_runs
from cvcore.ops.outlines import mask_polygons

SIDE = 120
FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def disc(rng: np.random.Generator) -> tuple[float, float, float]:
    return (*rng.uniform(10, SIDE - 10, 2), rng.uniform(6, 50))


def drawn(y: float, x: float, radius: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.hypot(rows - y, columns - x) < radius


def scene(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Discs in each of COCO's three forms, one of them a crowd, and discs near them."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    results = []
    for image_id in range(1, 13):
        for _ in range(int(rng.integers(1, 5))):
            y, x, radius = disc(rng)
            mask = drawn(y, x, radius)
            (rle,) = encode_rle(mask[None])
            box = mask_box(rle)
            assert box is not None
            number = len(annotations) + 1
            forms = (
                [[value for point in polygon for value in point] for polygon in mask_polygons(mask)],
                rle,
                {"size": rle["size"], "counts": mask_runs(rle).tolist()},
            )
            crowd = number == 3
            annotations.append(
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": int(rng.integers(1, 3)),
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "area": int(mask.sum()),
                    "iscrowd": int(crowd),
                    "segmentation": forms[2 if crowd else number % 3],
                }
            )
            near = drawn(*(np.array([y, x, radius]) + rng.normal(0, 2, 3)))
            found = {
                "image_id": image_id,
                "category_id": annotations[-1]["category_id"],
                "bbox": annotations[-1]["bbox"],
                "score": float(rng.random()),
                "segmentation": encode_rle(near[None])[0],
            }
            results.append(found)
    truth = {
        "images": [{"id": k, "height": SIDE, "width": SIDE} for k in range(1, 13)],
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate("ab", start=1)],
    }
    return truth, results


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    truth, results = scene(seed)
    found = assess_masks(truth, results)
    assert found.metrics is not None
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {**copy.deepcopy(truth), "info": {}}
        coco.createIndex()
        plain = [{k: v for k, v in each.items() if k != "bbox"} for each in results]
        reference = COCOeval(coco, coco.loadRes(plain), "segm")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    expected = [value if value >= 0 else float("nan") for value in reference.stats[:6]]
    assert [getattr(found.metrics, name) for name in FIGURES] == pytest.approx(
        expected, abs=1e-6, nan_ok=True
    )
    assert 0.3 < found.metrics.ap < 0.99


def test_the_truth_itself_is_perfect_and_masks_of_another_size_find_nothing() -> None:
    truth, _ = scene(5)
    whole = [
        {**a, "segmentation": a["segmentation"], "score": 0.5}
        for a in truth["annotations"]
        if isinstance(a["segmentation"], dict) and isinstance(a["segmentation"]["counts"], str)
    ]
    only = {**truth, "annotations": [a for a in truth["annotations"] if a["id"] in {w["id"] for w in whole}]}
    perfect = assess_masks(only, whole)
    assert perfect.metrics is not None
    assert perfect.metrics.ap == pytest.approx(1.0)
    small = encode_rle(np.ones((1, 5, 5), bool))[0]
    other = assess_masks(only, [{**each, "segmentation": small} for each in whole])
    assert other.metrics is not None
    assert other.metrics.ap == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"segmentation": None}, "polygons", id="no mask"),
        pytest.param({"segmentation": [[1, 2, 3, 4]]}, "three points", id="no polygon"),
        pytest.param({"segmentation": {"size": [9, 9], "counts": [81]}}, "120 x 120", id="another size"),
    ],
)
def test_a_truth_without_all_masks_is_not_compared(change: dict[str, Any], words: str) -> None:
    truth, results = scene(1)
    truth["annotations"][4] |= change
    found = assess_masks(truth, results)
    assert found.metrics is None
    assert f"1 of the {len(truth['annotations'])} objects" in found.why_not
    assert "annotation 5" in found.why_not
    assert words in found.why_not
