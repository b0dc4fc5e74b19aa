"""Annotations of tools as datasets to train on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cvcore.errors import SpecError
from jobs.datasets import open_dataset
from jobs.evaluate import evaluate_run
from jobs.export.export import export_run
from jobs.imports.dataset import import_dataset
from jobs.storage import Access
from tests.cluster.test_cli_mistakes import check_refused
from tests.cluster.test_cli_mistakes import run as veedor
from tests.exchange import make_rows, video_rows, write_run
from tests.jobs.export.test_round_trips import submit


def exported(run: Path, of: str) -> Path:
    out = run.parent / of
    export_run(str(run), to=of, out=str(out), access=Access())
    if of == "label-studio":
        submit(out / "tasks.json")
    return out


@pytest.mark.parametrize("of", ["coco", "yolo", "voc", "cvat", "label-studio", "fiftyone"])
def test_a_dataset_of_what_was_exported(tmp_path: Path, of: str) -> None:
    rows = make_rows(tmp_path, write_images=True)
    run = write_run(tmp_path, rows)
    source, out = exported(run, of), tmp_path / "dataset"
    done = import_dataset(str(source), str(out), of=of, images=str(tmp_path / "images"), access=Access())
    assert (done.num_images, done.num_boxes) == (6, 15)
    dataset = open_dataset(str(out)).read()
    found = {image.name.removeprefix("images/"): image for image in dataset.images}
    for row in rows:
        if row["detections"] is None:
            continue
        image = found[str(Path(row["uri"]).relative_to(tmp_path / "images"))]
        wanted = np.array([each["box"] for each in row["detections"]]).reshape(-1, 4)
        np.testing.assert_allclose(image.boxes, wanted, atol=1e-6)
        assert [dataset.labels[k] for k in image.label_ids] == [each["label"] for each in row["detections"]]
    metrics = evaluate_run(str(run), str(out / "annotations.json"), access=Access())
    assert metrics.metrics.ap == 1
    assert metrics.num_images == 6


def test_masks_go_along(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, write_images=True, masks=True)
    source = exported(write_run(tmp_path, rows, masks=True), "cvat")
    out = tmp_path / "dataset"
    import_dataset(str(source), str(out), of="cvat", images=str(tmp_path / "images"), access=Access())
    annotations = json.loads((out / "annotations.json").read_text())["annotations"]
    masks = [each["mask"] for row in rows for each in row["detections"] or ()]
    key = lambda mask: (mask["size"], mask["counts"])  # noqa: E731
    assert sorted((each["segmentation"] for each in annotations), key=key) == sorted(masks, key=key)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    source = exported(write_run(tmp_path, make_rows(tmp_path)), "coco")
    (tmp_path / "images").mkdir()
    with pytest.raises(SpecError, match=r"6 of 6 images are not in .*/images: a/img 000\.jpg"):
        import_dataset(
            str(source), str(tmp_path / "d"), of="coco", images=str(tmp_path / "images"), access=Access()
        )
    assert not (tmp_path / "d").exists()


def test_videos_are_no_dataset(tmp_path: Path) -> None:
    source = exported(write_run(tmp_path, video_rows(tmp_path), tracks=True), "cvat")
    with pytest.raises(SpecError, match="is of videos"):
        import_dataset(str(source), str(tmp_path / "d"), of="cvat", images=str(tmp_path), access=Access())


def test_the_command(tmp_path: Path) -> None:
    source = exported(write_run(tmp_path, make_rows(tmp_path, write_images=True)), "voc")
    command = ("import", source, "--format", "voc", "--as-dataset", tmp_path / "d")
    check_refused(veedor(*command), tmp_path / "d", "--images")
    result = veedor(*command, "--images", tmp_path / "images")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "d" / "annotations.json").exists()
