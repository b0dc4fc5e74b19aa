"""Random datasets through every pair of formats, and what other tools read of them."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pytest
import yaml
from pycocotools import mask
from pycocotools.coco import COCO
from torchvision.datasets import VOCDetection

from cvcore.datasets.coco import coco_document
from cvcore.datasets.joined import with_labels
from cvcore.datasets.records import BoxDataset
from cvcore.datasets.write import write_dataset
from cvcore.errors import SpecError
from cvcore.metrics.detection import evaluate_detections
from tests.datasets import (
    LABELS,
    assert_same,
    converted,
    picture,
    random_dataset,
    read_content,
    write_folder,
)

SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_coco_keeps_everything(seed: int) -> None:
    dataset, bodies = random_dataset(seed)
    content, losses = converted(dataset, bodies, "coco")
    found, problems = read_content(content)
    assert not losses
    assert not problems.serious
    assert_same(found, dataset, atol=1e-9)
    assert (found.labels, found.label_details, found.details) == (
        dataset.labels,
        dataset.label_details,
        dataset.details,
    )
    again, _ = converted(found, {image.name: bodies[image.name] for image in found.images}, "coco")
    assert json.loads(again["annotations.json"]) == json.loads(content["annotations.json"])


@pytest.mark.parametrize("seed", SEEDS)
def test_voc_keeps_all_but_what_is_said(seed: int) -> None:
    dataset, bodies = random_dataset(seed)
    content, losses = converted(dataset, bodies, "voc")
    found, problems = read_content(content, description={"format": "voc", "names": list(LABELS)})
    assert not problems.serious
    assert_same(found, dataset, atol=1e-8)
    assert found.labels == dataset.labels
    assert losses == {"the dataset's info": 1, "categories' id": 4, "categories' supercategory": 4}


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_pixels_come_back_from_voc_exactly(seed: int) -> None:
    dataset, bodies = random_dataset(seed, whole_pixels=True)
    content, _ = converted(dataset, bodies, "voc")
    found, _ = read_content(content, description={"names": list(LABELS)})
    assert_same(found, dataset, atol=0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_yolo_keeps_boxes_to_a_thousandth_of_a_pixel(seed: int) -> None:
    dataset, bodies = random_dataset(seed, rich=False)
    content, losses = converted(dataset, bodies, "yolo")
    found, problems = read_content(content, description={"names": list(LABELS)})
    assert not losses
    assert not problems.serious
    assert_same(found, dataset, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_yolo_counts_what_it_cannot_hold(seed: int) -> None:
    dataset, bodies = random_dataset(seed)
    content, losses = converted(dataset, bodies, "yolo")
    found, _ = read_content(content, description={"names": list(LABELS)})
    facts = [each for image in dataset.images for each in image.attributes]
    crowds = sum("crowd" in each for each in facts)
    plain = [each for each in facts if "crowd" not in each]
    assert losses.get("crowd boxes, left out", 0) == crowds
    assert found.num_boxes == dataset.num_boxes - crowds
    for key in ("id", "area", "segmentation", "difficult", "truncated", "attributes"):
        assert losses.get(f"boxes' {key}", 0) == sum(key in each for each in plain)
    assert losses["images' license"] == len(dataset.images)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tour_of_all_formats_ends_where_it_began(seed: int) -> None:
    dataset, bodies = random_dataset(seed, rich=False)
    at: BoxDataset = dataset
    for to in ("voc", "yolo", "coco", "yolo", "voc", "coco"):
        content, _ = converted(at, bodies, to)
        at, problems = read_content(content, description={"names": list(LABELS)})
        assert not problems.serious
        bodies = {image.name: content[image.name] for image in at.images}
    assert_same(at, dataset, atol=1e-3, facts=False)


def test_a_crowd_is_difficult_in_voc_and_a_crowd_again_when_read() -> None:
    dataset, bodies = random_dataset(0)
    content, _ = converted(dataset, bodies, "voc")
    crowds = sum("crowd" in f for image in dataset.images for f in image.attributes)
    written = b"".join(body for name, body in content.items() if name.endswith(".xml"))
    assert crowds
    flagged = sum("crowd" in f or "difficult" in f for i in dataset.images for f in i.attributes)
    assert written.count(b"<difficult>1</difficult>") == flagged


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    dataset, bodies = random_dataset(3)
    folder = write_folder(tmp_path, converted(dataset, bodies, "coco")[0])
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(folder / "annotations.json"))
    assert len(coco.getAnnIds()) == dataset.num_boxes
    for image in dataset.images:
        (shown,) = coco.loadImgs(image.details["id"])
        assert (folder / "images" / shown["file_name"]).read_bytes() == bodies[image.name]
        for annotation, box in zip(coco.imgToAnns[shown["id"]], image.boxes, strict=True):
            np.testing.assert_allclose(annotation["bbox"], [*box[:2], *(box[2:] - box[:2])], atol=1e-9)
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(LABELS)


def test_a_dataset_found_by_itself_has_an_average_precision_of_one() -> None:
    dataset, _ = random_dataset(1, rich=False)
    document = coco_document(dataset)
    found = [{**a, "score": 0.9} for a in document["annotations"]]
    assert evaluate_detections(document, found).ap == pytest.approx(1.0)


def test_torchvision_reads_the_voc_that_is_written(tmp_path: Path) -> None:
    dataset, _ = random_dataset(2, whole_pixels=True)
    output = write_dataset({"train": dataset}, "voc")
    jpegs = {
        new.replace(".png", ".jpg"): picture(image.width, image.height, image_format="JPEG")
        for (_, new), image in zip(output.images, dataset.images, strict=True)
    }
    root = tmp_path / "VOCdevkit" / "VOC2012"
    write_folder(root, {**output.files, **jpegs})
    (root / "ImageSets" / "Main" / "train.txt").write_text(
        "\n".join(Path(new).stem for _, new in output.images)
    )
    shown = VOCDetection(tmp_path, year="2012", image_set="train")
    assert len(shown) == len(dataset.images)
    for (image, target), expected in zip(shown, dataset.images, strict=True):
        assert image.size == (expected.width, expected.height)
        objects = target["annotation"].get("object", [])
        assert [each["name"] for each in objects] == [LABELS[k] for k in expected.label_ids]
        for each, box in zip(objects, expected.boxes, strict=True):
            corners = [int(each["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")]
            assert corners == [box[0] + 1, box[1] + 1, box[2], box[3]]


def test_images_that_differ_in_their_extension_alone_get_names_of_their_own() -> None:
    dataset, bodies = random_dataset(4, rich=False)
    first, second, *rest = dataset.images
    names = {first.name: "train/images/a.png", second.name: "val/images/a.jpg"}
    bodies = {names.get(name, name): body for name, body in bodies.items()}
    images = tuple(
        type(i)(names.get(i.name, i.name), i.width, i.height, i.boxes, i.label_ids, i.attributes)
        for i in (first, second, *rest)
    )
    output = write_dataset({"": BoxDataset(images, LABELS)}, "yolo")
    assert dict(output.images)["train/images/a.png"] == "images/a.png"
    assert dict(output.images)["val/images/a.jpg"] == "images/a-2.jpg"
    assert {"labels/a.txt", "labels/a-2.txt"} <= output.files.keys()
    assert output.num_renamed == 1


def test_splits_are_written_as_splits() -> None:
    (one, _), (two, _) = random_dataset(1, num=3), random_dataset(2, num=4)
    other = with_labels(two, ("new", *LABELS))
    for to, name in (("coco", "annotations/instances_val.json"), ("voc", "ImageSets/Main/val.txt")):
        assert name in write_dataset({"train": one, "val": other}, to).files  # type: ignore[arg-type]
    files = write_dataset({"train": one, "val": other}, "yolo").files
    assert sum(name.startswith("labels/val/") for name in files) == 4
    assert yaml.safe_load(files["data.yaml"]) == {
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate((*LABELS, "new"))),
    }
    with pytest.raises(SpecError, match="extra must be called one of these"):
        write_dataset({"extra": one}, "coco")


def test_xml_is_well_formed_whatever_labels_are_called(tmp_path: Path) -> None:
    dataset, bodies = random_dataset(5)
    folder = write_folder(tmp_path, converted(dataset, bodies, "voc")[0])
    names = {e.text for path in (folder / "Annotations").iterdir() for e in parse(path).iter("name")}
    assert {"gear & nut", "<Ring>"} & names


def test_masks_survive_voc() -> None:
    dataset, bodies = random_dataset(6, num=2)
    rle = mask.encode(np.asfortranarray(np.eye(7, dtype=np.uint8)))
    rle["counts"] = rle["counts"].decode()
    for image in dataset.images:
        for facts in image.attributes:
            facts["segmentation"] = rle  # type: ignore[index]
    content, _ = converted(dataset, bodies, "voc")
    found, _ = read_content(content, description={"names": list(LABELS)})
    segments = [facts["segmentation"] for image in found.images for facts in image.attributes]
    assert segments
    assert all(mask.decode(each).sum() == 7 for each in segments)
