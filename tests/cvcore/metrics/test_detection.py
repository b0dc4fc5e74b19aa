from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cvcore.metrics.detection import evaluate_detections


def make_truth(seed: int = 0, num_images: int = 6) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, num_images + 1):
        for _ in range(int(rng.integers(1, 6))):
            x, y, w, h = (*rng.uniform(0, 150, 2).tolist(), *rng.uniform(15, 120, 2).tolist())
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.integers(1, 4)),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": k, "height": 300, "width": 300} for k in range(1, num_images + 1)],
        "annotations": annotations,
        "categories": [{"id": k, "name": name} for k, name in enumerate("abc", start=1)],
    }


def detections_of(truth: dict[str, Any], *, noise: float, seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"] if rng.random() > noise / 20 else 1,
            "bbox": (np.array(a["bbox"]) + rng.normal(0, noise, 4)).tolist(),
            "score": float(rng.random()),
        }
        for a in truth["annotations"]
    ]


def test_the_truth_itself_is_perfect() -> None:
    truth = make_truth()
    metrics = evaluate_detections(truth, detections_of(truth, noise=0.0))
    assert metrics.ap == pytest.approx(1.0)
    assert metrics.ap50 == pytest.approx(1.0)
    assert metrics.recall == pytest.approx(1.0)
    assert set(metrics.per_class_ap50) == {"a", "b", "c"}
    assert metrics.num_images == 6
    assert metrics.num_objects == len(truth["annotations"])


def test_agrees_with_pycocotools_used_by_hand(tmp_path: Path) -> None:
    truth = make_truth(2, 20)
    found = detections_of(truth, noise=6.0)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({**truth, "info": {}}))
    metrics = evaluate_detections(path, found)
    coco = COCO(str(path))
    reference = COCOeval(coco, coco.loadRes(found), "bbox")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    assert [metrics.ap, metrics.ap50, metrics.ap75, metrics.recall] == pytest.approx(
        [reference.stats[k] for k in (0, 1, 2, 8)]
    )
    assert metrics.ap50 == pytest.approx(np.mean(list(metrics.per_class_ap50.values())))
    assert metrics.ap == pytest.approx(np.mean(list(metrics.per_class_ap.values())))
    assert 0.1 < metrics.ap < 0.95


def reference_ap(reference: COCOeval, category: int, area: int, thresholds: slice) -> float:
    values = reference.eval["precision"][thresholds, :, category, area, 2]
    return float(values[values > -1].mean()) if (values > -1).any() else math.nan


@pytest.mark.parametrize("noise", [3.0, 9.0])
def test_figures_by_class_and_size_are_pycocotools(tmp_path: Path, noise: float) -> None:
    truth = make_truth(4, 30)
    found = detections_of(truth, noise=noise)
    (tmp_path / "truth.json").write_text(json.dumps({**truth, "info": {}}))
    metrics = evaluate_detections(truth, found)
    coco = COCO(str(tmp_path / "truth.json"))
    reference = COCOeval(coco, coco.loadRes(found), "bbox")
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    sizes = [metrics.ap_small, metrics.ap_medium, metrics.ap_large]
    assert sizes == pytest.approx(reference.stats[3:6].tolist(), abs=1e-6)
    every = slice(None)
    named = [
        ("per_class_ap", 0, every),
        ("per_class_ap50", 0, slice(0, 1)),
        ("per_class_ap75", 0, slice(5, 6)),
        ("per_class_ap_small", 1, every),
        ("per_class_ap_medium", 2, every),
        ("per_class_ap_large", 3, every),
    ]
    for name, area, thresholds in named:
        expected = [reference_ap(reference, k, area, thresholds) for k in range(3)]
        assert list(getattr(metrics, name).values()) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_is_quiet_and_leaves_its_arguments_alone(capsys: pytest.CaptureFixture[str]) -> None:
    truth = make_truth()
    found = detections_of(truth, noise=3.0)
    before = json.dumps([truth, found])
    evaluate_detections(truth, found)
    assert capsys.readouterr().out == ""
    assert json.dumps([truth, found]) == before


def test_no_detections_score_zero() -> None:
    metrics = evaluate_detections(make_truth(), [])
    assert metrics.ap == 0.0
    assert metrics.per_class_ap50 == {"a": 0.0, "b": 0.0, "c": 0.0}


def test_objects_of_a_size_that_is_not_there_have_no_score() -> None:
    truth = make_truth()
    truth["annotations"] = [{**a, "area": 5000.0} for a in truth["annotations"]]
    for found in ([], detections_of(truth, noise=0.0)):
        metrics = evaluate_detections(truth, found)
        assert math.isnan(metrics.ap_small)
        assert math.isnan(metrics.per_class_ap_large["a"])
        assert metrics.ap_medium == pytest.approx(float(bool(found)))


def test_a_class_without_objects_has_no_score() -> None:
    truth = make_truth()
    truth["annotations"] = [a for a in truth["annotations"] if a["category_id"] != 2]
    for found in ([], detections_of(truth, noise=0.0)):
        assert math.isnan(evaluate_detections(truth, found).per_class_ap50["b"])


def test_refuses_unknown_images() -> None:
    found = [{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]
    with pytest.raises(ValueError, match="99"):
        evaluate_detections(make_truth(), found)
