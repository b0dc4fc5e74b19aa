"""Which layout a folder has, by the names of its files and what a description says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cvcore.datasets.description import Description, parse_description
from cvcore.datasets.files import inner_name
from cvcore.datasets.layout import find_layout
from cvcore.datasets.splits import split_by_seed
from cvcore.datasets.yolo import label_name
from cvcore.errors import SpecError
from tests.datasets import picture, read_content

PNG = picture(30, 20)
CASES: dict[str, tuple[tuple[str, ...], str, dict[str, tuple[str, ...]], tuple[str, ...]]] = {
    # name: (files, format, splits, whole)
    "one COCO document": (("annotations.json", "images/a.jpg"), "coco", {}, ("annotations.json",)),
    "COCO as published": (
        ("annotations/captions_train2017.json", "annotations/instances_train2017.json",
         "annotations/instances_val2017.json", "train2017/a.jpg"),
        "coco",
        {"train": ("annotations/instances_train2017.json",), "val": ("annotations/instances_val2017.json",)},
        (),
    ),
    "a COCO document a folder": (
        ("train/annotations.json", "train/images/a.jpg", "valid/annotations.json"),
        "coco", {"train": ("train/annotations.json",), "val": ("valid/annotations.json",)}, (),
    ),
    "VOC with lists": (
        ("Annotations/a.xml", "ImageSets/Main/train.txt", "ImageSets/Main/trainval.txt",
         "ImageSets/Main/cat_train.txt", "JPEGImages/a.jpg"),
        "voc", {"train": ("ImageSets/Main/train.txt",)}, ("",),
    ),
    "YOLO, splits inside": (
        ("images/train/a.jpg", "images/val/b.jpg", "labels/train/a.txt"),
        "yolo", {"train": ("images/train",), "val": ("images/val",)}, ("",),
    ),
    "YOLO, splits outside": (
        ("test/images/b.jpg", "train/images/a.jpg", "train/labels/a.txt", "valid/images/b.jpg"),
        "yolo",
        {"train": ("train/images",), "val": ("valid/images",), "test": ("test/images",)}, ("",),
    ),
    "YOLO without splits": (("images/a.jpg", "labels/a.txt"), "yolo", {}, ("",)),
    "folders of classes": (("cat/a.jpg", "dog/b.jpg"), "folders", {}, ("",)),
    "folders in splits": (
        ("train/cat/a.jpg", "val/dog/b.jpg"), "folders", {"train": ("train",), "val": ("val",)}, (),
    ),
    "a class that is called test": (("cat/a.jpg", "test/b.jpg"), "folders", {}, ("",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layouts_are_found(name: str) -> None:
    names, format_, splits, whole = CASES[name]
    found = find_layout(sorted(names), Description())
    assert (found.format, dict(found.splits), found.whole) == (format_, splits, whole)
    assert list(found.splits) == list(splits)


REFUSED: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "nothing": ((), {}, "it has no files"),
    "something else": (("notes.md", "src/a.py"), {}, "it has notes.md, src/"),
    "two formats": (("Annotations/a.xml", "annotations.json"), {}, "more than one format: coco, voc"),
    "not what is said": (("images/a.jpg", "labels/a.txt"), {"format": "voc"}, "does not hold voc"),
    "no such split": (
        ("images/a.jpg", "labels/a.txt"),
        {"train": "images/train", "names": ["a"]},
        "no such file or folder"),
    "an unknown format": ((), {"format": "yolov5"}, "Did you mean 'yolo'"),
    "upwards": ((), {"train": "../../elsewhere"}, "outside of the dataset's folder"),
    "absolute": ((), {"val": "/etc"}, "outside of the dataset's folder"),
    "names with a gap": ((), {"names": {0: "a", 2: "b"}}, "must be 0 to 1"),
    "names twice": ((), {"names": ["a", "b", "a"]}, "a is there twice"),
    "another number": ((), {"names": ["a"], "nc": 2}, "nc is 2"),
    "names are a text": ((), {"names": "a"}, "names is a list"),
    "a number as a split": ((), {"train": 3}, "it is a folder or file"),
    "two documents": (
        ("a.json", "b.json"), {"train": ["a.json", "b.json"]}, "name one document"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_and_why(name: str) -> None:
    names, content, words = REFUSED[name]
    with pytest.raises(SpecError, match=words):
        find_layout(names, parse_description(content, "dataset.yaml"))


def test_ultralytics_yaml() -> None:
    content = {
        "path": "../datasets/coco8",
        "train": ["images/train", "images/more"],
        "val": "../valid/images",
        "test": None,
        "names": {0: "person", 1: "bicycle"},
        "download": "https://example.org/x.zip",
        "nc": 2,
    }
    found = parse_description(content, "data.yaml")
    assert found.splits == {"train": ("images/train", "images/more"), "val": ("valid/images",)}
    assert found.names == ("person", "bicycle")
    assert found.path == "../datasets/coco8"


def test_two_formats_are_read_as_said() -> None:
    names = ["Annotations/a.xml", "annotations.json", "images/a.jpg", "labels/a.txt"]
    for format_ in ("coco", "voc", "yolo"):
        assert find_layout(names, Description(format=format_)).format == format_  # type: ignore[arg-type]
    assert find_layout(names, Description(names=("bolt",))).format == "yolo"


@pytest.mark.parametrize(
    ("document", "images"),
    [
        ("annotations.json", ("images/a.png", "images/b.png")),
        ("annotations/instances_val2017.json", ("val2017/a.png", "val2017/b.png")),
        ("annotations/instances_val.json", ("images/val/a.png", "images/b.png")),
        ("val/annotations.json", ("val/images/a.png", "val/b.png")),
    ],
)
def test_where_images_of_a_document_are(document: str, images: tuple[str, str]) -> None:
    listed = [{"id": k, "file_name": f"{name}.png"} for k, name in enumerate("ab")]
    body = json.dumps({"images": listed, "annotations": [], "categories": []}).encode()
    elsewhere = {"train/images/a.png": PNG, "images/a.png": PNG} if document.startswith("val/") else {}
    dataset, problems = read_content({document: body, **dict.fromkeys(images, PNG), **elsewhere})
    assert tuple(image.name for image in dataset.images) == images
    assert not problems.serious


def test_yolo_lists_and_labels_beside_images() -> None:
    content = {
        "data/a.png": PNG,
        "data/a.txt": b"1 0.5 0.5 1 1\n",
        "data/b.png": PNG,
        "train.txt": b"data/a.png\n/etc/passwd.png\n",
        "data/val.txt": b"./b.png\n",
    }
    said = {"format": "yolo", "train": "train.txt", "val": "data/val.txt", "names": ["x", "y"]}
    train, problems = read_content(content, split="train", description=said)
    assert [(i.name, i.boxes.tolist(), i.label_ids.tolist()) for i in train.images] == [
        ("data/a.png", [[0, 0, 30, 20]], [1])
    ]
    assert problems.count("name_outside") == 1
    val, _ = read_content(content, split="val", description=said)
    assert [image.name for image in val.images] == ["data/b.png"]


def test_a_polygon_gives_its_extent_and_is_kept() -> None:
    content = {"images/a.png": PNG, "labels/a.txt": b"0 0.1 0.5 0.5 0.1 0.2 0.9\n", "classes.txt": b"x\n"}
    dataset, _ = read_content(content)
    (image,) = dataset.images
    assert image.boxes[0].tolist() == pytest.approx([3.0, 2.0, 15.0, 18.0])
    assert image.attributes[0]["segmentation"][0] == pytest.approx([3, 10, 15, 2, 6, 18])


def test_yolo_classes_need_names() -> None:
    content = {"images/a.png": PNG, "labels/a.txt": b""}
    with pytest.raises(SpecError, match="the classes have no names"):
        read_content(content)
    with pytest.raises(SpecError, match="one name a line"):
        read_content({**content, "classes.txt": b"a\n\nb\n"})


def test_folders_give_classes_in_order_the_same_in_each_split() -> None:
    content = {"train/dog/x/1.png": PNG, "train/cat/2.png": PNG, "val/dog/3.png": PNG, "val/eel/4.png": PNG}
    train, _ = read_content(content, split="train")
    val, _ = read_content(content, split="val")
    assert train.labels == val.labels == ("cat", "dog", "eel")
    assert train.task == "classes"
    assert {i.name: int(i.label_ids[0]) for i in (*train.images, *val.images)} == {
        "train/dog/x/1.png": 1,
        "train/cat/2.png": 0,
        "val/dog/3.png": 1,
        "val/eel/4.png": 2,
    }
    assert all(image.boxes.shape == (0, 4) and image.width == 30 for image in train.images)


def test_adding_images_moves_none_between_splits() -> None:
    shares = {"train": 0.7, "val": 0.2, "test": 0.1}
    few = split_by_seed((f"images/{k}.jpg" for k in range(2000)), seed=3, shares=shares)
    more = split_by_seed((f"images/{k}.jpg" for k in reversed(range(5000))), seed=3, shares=shares)
    assert all(more[name] == split for name, split in few.items())
    for split, share in shares.items():
        assert sum(each == split for each in more.values()) / 5000 == pytest.approx(share, abs=0.02)
    other = split_by_seed(few, seed=4, shares=shares)
    assert other != few
    assert set(split_by_seed(few, seed=0, shares={"train": 1.0, "val": 0.0}).values()) == {"train"}
    with pytest.raises(ValueError, match="add up to 1"):
        split_by_seed(few, seed=0, shares={"train": 0.5})


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("images", "a.jpg"), "images/a.jpg"),
        (("images", "x/../a.jpg"), "images/a.jpg"),
        (("", "./a.jpg"), "a.jpg"),
        (("images", "../../a.jpg"), None),
        (("images", "/etc/passwd"), None),
        (("..",), None),
        (("a\0b",), None),
        (("a\\..\\b",), None),
        (("",), None),
    ],
)
def test_names_stay_inside(parts: tuple[str, ...], expected: str | None) -> None:
    assert inner_name(*parts) == expected


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("images/train/images/a.b.jpg", "images/train/labels/a.b.txt"),
        ("data/a.jpg", "data/a.txt"),
    ],
)
def test_where_a_label_is(image: str, text: str) -> None:
    assert label_name(image) == text
