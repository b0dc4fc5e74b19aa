"""Exports as the tools' own packages read them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from cvcore.errors import SpecError
from jobs.evaluate import evaluate_run
from jobs.export.export import export_run
from jobs.export.options import Options
from jobs.storage import Access
from tests.exchange import LABELS, make_rows, video_rows, write_run
from tests.references import reference

SPLIT = ("train", "train")


def export(
    folder: Path, rows: list[dict[str, Any]], to: str, options: Options | None = None, **kinds: bool
) -> Path:
    run = write_run(folder, rows, **kinds)  # type: ignore[arg-type]
    out = folder / to
    export_run(str(run), to=to, out=str(out), access=Access(), options=options)
    return out


def expected_boxes(rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, list[float]]]]:
    """Labels and boxes by the name of the image, of those that were looked at."""
    return {
        Path(row["uri"]).stem: sorted((each["label"], each["box"]) for each in row["detections"])
        for row in rows
        if row["detections"] is not None
    }


def check_boxes(
    found: dict[str, list[tuple[str, list[float]]]], rows: list[dict[str, Any]], *, atol: float
) -> None:
    expected = expected_boxes(rows)
    assert {name for name in found if found[name]} == {name for name in expected if expected[name]}
    for name in found:
        assert [label for label, _ in sorted(found[name])] == [label for label, _ in expected.get(name, [])]
        for (_, box), (_, wanted) in zip(sorted(found[name]), expected.get(name, []), strict=True):
            np.testing.assert_allclose(box, wanted, atol=atol, rtol=0)


def datumaro_boxes(path: Path, of: str) -> dict[str, list[tuple[str, list[float]]]]:
    datumaro = reference("datumaro")
    dataset = datumaro.Dataset.import_from(str(path), of)
    labels = [each.name for each in dataset.categories()[datumaro.AnnotationType.label]]
    assert labels == list(LABELS)
    return {
        Path(item.id).name.removeprefix("train__"): [
            (labels[each.label], list(each.points))
            for each in item.annotations
            if each.type == datumaro.AnnotationType.bbox
        ]
        for item in dataset
    }


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    return make_rows(tmp_path, write_images=True, folders=SPLIT)


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_pycocotools_reads_boxes_scores_and_masks(form: str, tmp_path: Path) -> None:
    rows = make_rows(tmp_path, masks=True)
    out = export(tmp_path, rows, "coco", Options(masks=form), masks=True)
    kind = dict if form == "rle" else list
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / "annotations.json"))
        results = coco.loadRes(str(out / "results.json"))
    every = [each for row in rows for each in row["detections"] or ()]
    assert len(coco.anns) == len(results.anns) == len(every)
    for annotation, result, each in zip(coco.anns.values(), results.anns.values(), every, strict=True):
        assert coco.cats[annotation["category_id"]]["name"] == each["label"]
        assert result["score"] == each["score"]
        mask = coco_mask.decode(each["mask"] | {"counts": each["mask"]["counts"].encode()})
        assert isinstance(annotation["segmentation"], kind)
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        np.testing.assert_array_equal(results.annToMask(result), mask)
        assert annotation["area"] == mask.sum()


@pytest.mark.parametrize(
    ("to", "form", "words"),
    [
        pytest.param("yolo", "polygons", "coco alone has masks in several forms", id="another format"),
        pytest.param("coco", "polygon", "Did you mean 'polygons'", id="another form"),
    ],
)
def test_forms_of_masks_that_there_are_not(to: str, form: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words):
        export(tmp_path, make_rows(tmp_path), to, Options(masks=form))


@pytest.mark.parametrize("seed", range(3))
def test_map_before_and_after_is_the_same(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth_rows = make_rows(tmp_path / "truth", num=30, seed=seed)
    truth = export(tmp_path / "truth", truth_rows, "coco") / "annotations.json"
    rows = make_rows(tmp_path / "truth", num=30, seed=seed)
    for row in rows:
        for each in row["detections"] or ():
            each["box"] = (np.float32(each["box"]) + np.float32(rng.normal(0, 2, 4))).tolist()
            if rng.random() < 0.2:
                each["label"] = LABELS[int(rng.integers(3))]
    out = export(tmp_path / "found", rows, "coco")
    before = evaluate_run(str(tmp_path / "found" / "run"), str(truth), access=Access()).metrics
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        after = COCOeval(coco, coco.loadRes(str(out / "results.json")), "bbox")
        after.evaluate()
        after.accumulate()
        after.summarize()
    assert 0.1 < before.ap < 0.9
    assert abs(before.ap - after.stats[0]) < 1e-6
    assert abs(before.ap50 - after.stats[1]) < 1e-6


def test_datumaro_reads_coco(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    out = export(tmp_path, rows, "coco")
    shutil.copytree(tmp_path / "images", out / "images")
    (out / "annotations").mkdir()
    (out / "annotations.json").rename(out / "annotations" / "instances_default.json")
    check_boxes(datumaro_boxes(out, "coco"), rows, atol=0.01)


def test_datumaro_reads_yolo(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    out = export(tmp_path, rows, "yolo")
    shutil.copytree(tmp_path / "images", out / "images")
    check_boxes(datumaro_boxes(out, "yolo"), rows, atol=0.01)


def test_datumaro_reads_voc_whose_pixels_count_from_one(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    out = export(tmp_path, rows, "voc")
    for image in (tmp_path / "images" / "train").iterdir():
        (out / "JPEGImages").mkdir(exist_ok=True)
        shutil.copy(image, out / "JPEGImages" / f"train__{image.name}")
    found = datumaro_boxes(out, "voc")
    edges = {
        name: [(label, [x0 - 1, y0 - 1, x1, y1]) for label, (x0, y0, x1, y1) in boxes]
        for name, boxes in found.items()
    }
    check_boxes(edges, rows, atol=0.01)


def test_datumaro_reads_cvat_images_with_masks(tmp_path: Path) -> None:
    datumaro = reference("datumaro")
    rows = make_rows(tmp_path, write_images=True, masks=True)
    out = export(tmp_path, rows, "cvat", masks=True)
    shutil.copytree(tmp_path / "images", out / "images")
    check_boxes(datumaro_boxes(out, "cvat"), rows, atol=0.01)
    dataset = datumaro.Dataset.import_from(str(out), "cvat")
    masks = {Path(row["uri"]).stem: [e["mask"] for e in row["detections"] or ()] for row in rows}
    for item in dataset:
        found = [each.image for each in item.annotations if each.type == datumaro.AnnotationType.mask]
        wanted = [coco_mask.decode(m | {"counts": m["counts"].encode()}) for m in masks[Path(item.id).name]]
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_datumaro_reads_cvat_tracks(tmp_path: Path) -> None:
    datumaro = reference("datumaro")
    rows = video_rows(tmp_path)
    out = export(tmp_path, rows, "cvat", tracks=True)
    dataset = datumaro.Dataset.import_from(str(out / "videos" / "line 3.mp4.xml"), "cvat")
    shown = {
        int(item.id.removeprefix("frame_")): sorted(
            each.label for each in item.annotations if not each.attributes["outside"]
        )
        for item in dataset
    }
    assert shown == {
        row["frame_index"]: sorted(each["label_id"] for each in row["detections"]) for row in rows
    }


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_supervision_reads(tmp_path: Path, rows: list[dict[str, Any]], to: str) -> None:
    sv = reference("supervision")
    out, images = export(tmp_path, rows, to), str(tmp_path / "images" / "train")
    if to == "coco":
        dataset = sv.DetectionDataset.from_coco(str(tmp_path / "images"), str(out / "annotations.json"))
    elif to == "yolo":
        labels = str(out / "labels" / "train")
        dataset = sv.DetectionDataset.from_yolo(images, labels, str(out / "data.yaml"))
    else:
        for image in (tmp_path / "images" / "train").iterdir():
            image.rename(image.with_name(f"train__{image.name}"))
        dataset = sv.DetectionDataset.from_pascal_voc(images, str(out / "Annotations"))
    found = {
        Path(path).stem.removeprefix("train__"): [
            (dataset.classes[label], box.tolist())
            for label, box in zip(each.class_id, each.xyxy, strict=True)
        ]
        for path, each in dataset.annotations.items()
    }
    check_boxes(found, rows, atol=1e-4)


def test_motmetrics_reads_mot(tmp_path: Path) -> None:
    motmetrics = reference("motmetrics")
    rows = video_rows(tmp_path)
    out = export(tmp_path, rows, "mot", tracks=True)
    table = motmetrics.io.loadtxt(str(out / "line 3.txt"), fmt="mot15-2D")
    for row in rows:
        for each in row["detections"]:
            line = table.loc[(row["frame_index"] + 1, each["track_id"] or -1)]
            x0, y0, x1, y1 = each["box"]
            found = [line["X"] + 1, line["Y"] + 1, line["Width"], line["Height"], line["Confidence"]]
            np.testing.assert_allclose(found, [x0, y0, x1 - x0, y1 - y0, each["score"]], atol=1e-9)
    assert len(table) == sum(len(row["detections"]) for row in rows)


def test_label_studio_accepts_the_predictions(tmp_path: Path) -> None:
    interface = reference("label_studio_sdk.label_interface")
    out = export(tmp_path, make_rows(tmp_path, masks=True), "label-studio", masks=True)
    setup = interface.LabelInterface((out / "labeling.xml").read_text())
    setup.validate()
    tasks = json.loads((out / "tasks.json").read_text())
    for task in tasks:
        assert setup.validate_prediction(task["predictions"][0], return_errors=True) == []
    wrong = tasks[0]["predictions"][0]
    wrong["result"][0]["value"]["rectanglelabels"] = ["ship"]
    assert setup.validate_prediction(wrong, return_errors=True) != []


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_a_run_is_measured_by_its_masks_too(form: str, tmp_path: Path) -> None:
    rows = make_rows(tmp_path, masks=True)
    out = export(tmp_path, rows, "coco", Options(masks=form), masks=True)
    found = evaluate_run(str(tmp_path / "run"), str(out / "annotations.json"), access=Access())
    assert found.masks is not None
    assert found.masks.metrics is not None
    assert found.masks.metrics.ap == pytest.approx(1.0)
    assert found.masks.metrics.num_objects == found.metrics.num_objects
