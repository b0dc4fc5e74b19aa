"""Real weights on real photographs, through the command line."""

from __future__ import annotations

from pathlib import Path

from tests.data import shared_data
from tests.runs import read_local_rows, veedor


def test_yolo_fastest_finds_what_is_in_the_dog_picture(tmp_path: Path) -> None:
    weights, images = shared_data("weights"), shared_data("images", "darknet")
    model = weights / "yolo-fastest-1.1"
    done = veedor(
        "annotate", str(images), "--model", str(model / "yolo-fastest-1.1.cfg"),
        "--weights", str(model / "yolo-fastest-1.1.weights"), "--labels", str(weights / "coco.names"),
        "--out", str(tmp_path / "out"), "--include", "dog.jpg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = read_local_rows(tmp_path / "out").to_pylist()
    assert (row["width"], row["height"]) == (768, 576)
    boxes = {}
    for detection in reversed(row["detections"]):  # the best of each label stays
        boxes[detection["label"]] = detection["box"]
    # Where they are in the picture: xyxy pixels, read off it by eye.
    assert _iou(boxes["dog"], [130, 220, 310, 545]) > 0.5
    assert _iou(boxes["bicycle"], [120, 130, 570, 430]) > 0.4
    assert max(_iou(boxes[name], [465, 75, 690, 172]) for name in ("car", "truck") if name in boxes) > 0.5


def _iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return overlap / (sum(areas) - overlap)
