"""What is written is read back: boxes to the format's precision, labels, masks and tracks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.export.export import export_run
from jobs.imports.corrections import read_annotations
from jobs.imports.given import Given, scaled, stem
from jobs.storage import Access
from tests.exchange import LABELS, make_rows, video_rows, write_run

DIGITS_PX = {
    "coco": 0,
    "yolo": 1e-7,
    "voc": 1e-8,
    "cvat": 0,
    "label-studio": 1e-10,
    "fiftyone": 1e-10,
    "csv": 0,
}
WITH_MASKS = ("coco", "voc", "cvat", "label-studio", "csv")
WITH_SCORES = ("coco", "voc", "cvat", "label-studio", "fiftyone", "csv")


def read_back(run: Path, out: Path, of: str) -> list[Given]:
    export_run(str(run), to=of, out=str(out), access=Access())
    if of == "label-studio":
        submit(out / "tasks.json")
    return read_annotations(str(out), of=of, access=Access(), labels=LABELS)


def submit(tasks: Path) -> None:
    """What happens when someone accepts all predictions."""
    content = json.loads(tasks.read_text())
    for task in content:
        task["annotations"] = [{"result": each["result"]} for each in task.pop("predictions")]
    tasks.write_text(json.dumps(content))


def looked_at(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["detections"] is not None]


def paired(rows: list[dict[str, Any]], given: list[Given]) -> Iterator[tuple[dict[str, Any], Given]]:
    """Each image that was looked at with what came back of it."""
    by_end = {stem(each.name).rpartition("/")[2]: each for each in given}
    assert len(by_end) == len(given) == len(looked_at(rows))
    for row in looked_at(rows):
        yield row, by_end[stem(row["uri"]).rpartition("/")[2]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("of", DIGITS_PX)
def test_boxes_labels_and_scores(tmp_path: Path, of: str, seed: int) -> None:
    rows = make_rows(tmp_path, seed=seed)
    given = read_back(write_run(tmp_path, rows), tmp_path / of, of)
    for row, image in paired(rows, given):
        size = (row["width"], row["height"])
        boxes = [scaled(box, size, in_shares=image.in_shares) for box in image.boxes]
        assert [box.label for box in boxes] == [each["label"] for each in row["detections"]]
        expected = np.array([each["box"] for each in row["detections"]]).reshape(-1, 4)
        found = np.array([box.box for box in boxes]).reshape(-1, 4)
        np.testing.assert_allclose(found, expected, rtol=0, atol=DIGITS_PX[of])
        assert np.array_equal(found.astype(np.float32), expected.astype(np.float32)) or of == "yolo"
        if of in WITH_SCORES:
            assert [box.score for box in boxes] == [each["score"] for each in row["detections"]]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("of", [*WITH_MASKS, "yolo"])
def test_masks(tmp_path: Path, of: str, seed: int) -> None:
    rows = make_rows(tmp_path, seed=seed, masks=True)
    given = read_back(write_run(tmp_path, rows, masks=True), tmp_path / of, of)
    for row, image in paired(rows, given):
        size = (row["width"], row["height"])
        masks = [scaled(box, size, in_shares=image.in_shares).mask for box in image.boxes]
        assert masks == [each["mask"] for each in row["detections"]]


@pytest.mark.parametrize("of", ["mot", "cvat", "csv"])
def test_tracks(tmp_path: Path, of: str) -> None:
    rows = video_rows(tmp_path)
    given = read_back(write_run(tmp_path, rows, tracks=True), tmp_path / of, of)
    found = sorted(
        (image.frame_index or 0, box.track_id or 0, box.label, *box.box, box.score or 0)
        for image in given
        for box in image.boxes
    )
    expected = sorted(
        (row["frame_index"], each["track_id"] or 0, each["label"], *each["box"], each["score"])
        for row in rows
        for each in row["detections"]
    )
    assert [each[:3] for each in found] == [each[:3] for each in expected]
    np.testing.assert_allclose([f[3:] for f in found], [e[3:] for e in expected], rtol=0, atol=1e-12)


@pytest.mark.parametrize("of", ["coco", "yolo", "voc", "label-studio", "fiftyone", "csv"])
def test_empty_is_not_failed(tmp_path: Path, of: str) -> None:
    rows = make_rows(tmp_path)
    given = read_back(write_run(tmp_path, rows), tmp_path / of, of)
    empty = [each.name for each in given if not each.boxes]
    assert [name.replace("__", "/").split("/")[-1].split(".")[0] for name in empty] == ["img 001"]
    assert not any("002" in each.name for each in given)
    lines = (tmp_path / of / "failures.csv").read_text().splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("img 002.jpg,,decode,truncated,it ends early")
    counts = json.loads((tmp_path / of / "veedor.json").read_text())["counts"]
    assert counts == {
        "looked_at": 6,
        "empty": 1,
        "failed": 1,
        "detections": 15,
        "left_out": 0,
        "inputs": 7,
        "not_looked_at": 0,
    }
