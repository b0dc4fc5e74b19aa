"""Each kind of problem brought about by itself: it is counted, said where, and done about what is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from cvcore.datasets.coco import parse_document
from cvcore.datasets.problems import KINDS, MAX_EXAMPLES, ProblemLog, merge_problems
from cvcore.datasets.voc import parse_annotation
from cvcore.errors import SpecError
from tests.datasets import picture, read_content

WIDTH, HEIGHT = 60, 40
PNG = picture(WIDTH, HEIGHT)


def coco(**changes: Any) -> dict[str, bytes]:
    """Two images with a box each, of two classes; `changes` replace the document's lists."""
    document = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
            {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
        ],
        "annotations": [box(1, 1, 1, [5, 5, 10, 10]), box(2, 2, 2, [0, 0, WIDTH, HEIGHT])],
        "categories": [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}],
        **changes,
    }
    body = json.dumps(document).encode()
    return {"annotations.json": body, "images/a.png": PNG, "images/b.png": PNG}


def box(number: int, image_id: int, category_id: int, xywh: list[Any]) -> dict[str, Any]:
    return {"id": number, "image_id": image_id, "category_id": category_id, "bbox": xywh}


GOOD = [box(1, 1, 1, [5, 5, 10, 10]), box(2, 2, 2, [0, 0, WIDTH, HEIGHT])]
IMAGES = [
    {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT},
    {"id": 2, "file_name": "b.png", "width": WIDTH, "height": HEIGHT},
]


def voc_xml(objects: str = "", *, name: str = "a.png", size: str = "") -> bytes:
    size = size or f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>".encode()


def voc_box(label: str = "bolt", corners: tuple[Any, ...] = (6, 6, 15, 15)) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{label}</name><bndbox>{inside}</bndbox></object>"


def voc(**more: bytes) -> dict[str, bytes]:
    return {"Annotations/a.xml": voc_xml(voc_box()), "JPEGImages/a.png": PNG, **more}


def yolo(**more: bytes) -> dict[str, bytes]:
    line = b"0 0.5 0.5 0.2 0.2\n"
    return {"images/a.png": PNG, "labels/a.txt": line, "classes.txt": b"bolt\n", **more}


@pytest.mark.parametrize("content", [coco(), voc(), yolo()], ids=["coco", "voc", "yolo"])
def test_nothing_is_wrong_with_a_good_dataset(content: dict[str, bytes]) -> None:
    dataset, problems = read_content(content, look="pixels")
    assert problems.found == ()
    assert dataset.num_boxes == len(dataset.images)


ONE_MORE = {"images": [*IMAGES, {"id": 3, "file_name": "c.png", "width": 60, "height": 40}]}
CASES: dict[str, tuple[str, Mapping[str, bytes], int, int]] = {
    # name: (kind, folder, images kept, boxes kept)
    "coco: reaches out to the left": (
        "box_outside", coco(annotations=[box(1, 1, 1, [-5, 5, 10, 10]), GOOD[1]]), 2, 2),
    "coco: wholly outside": (
        "box_without_area", coco(annotations=[box(3, 1, 1, [61, 5, 10, 10]), *GOOD]), 2, 2),
    "coco: negative width": (
        "box_without_area", coco(annotations=[box(3, 1, 1, [9, 5, -3, 10]), *GOOD]), 2, 2),
    "coco: not a number": (
        "box_without_area", coco(annotations=[box(3, 1, 1, [9, 5, float("nan"), 10]), *GOOD]), 2, 2),
    "coco: unknown category": ("class_unknown", coco(annotations=[box(3, 1, 7, [1, 1, 2, 2]), *GOOD]), 2, 2),
    "coco: missing image": ("image_missing", coco(**ONE_MORE), 2, 2),
    "coco: no image's annotation": (
        "annotation_without_image", coco(annotations=[box(3, 9, 1, [1, 1, 2, 2]), *GOOD]), 2, 2),
    "coco: image id twice": (
        "image_duplicate_id", coco(images=[*IMAGES, {"id": 1, "file_name": "c.png"}]), 2, 2),
    "coco: image name twice": (
        "image_duplicate_name",
        coco(images=[*IMAGES, {**IMAGES[0], "id": 3}], annotations=[*GOOD, box(3, 3, 1, [1, 1, 2, 2])]),
        2, 3),
    "coco: annotation id twice": (
        "annotation_duplicate_id", coco(annotations=[*GOOD, box(1, 1, 1, [1, 1, 2, 2])]), 2, 3),
    "coco: equal boxes": ("box_duplicate", coco(annotations=[*GOOD, {**GOOD[0], "id": 3}]), 2, 2),
    "coco: bbox of three": ("malformed", coco(annotations=[*GOOD, box(3, 1, 1, [1, 2, 3])]), 2, 2),
    "coco: annotation is a number": ("malformed", coco(annotations=[*GOOD, 7]), 2, 2),
    "coco: image without a name": ("malformed", coco(images=[*IMAGES, {"id": 5}]), 2, 2),
    "coco: another size": (
        "image_size_differs",
        coco(images=[{**IMAGES[0], "width": HEIGHT, "height": WIDTH}, IMAGES[1]]), 2, 2),
    "coco: upwards": ("name_outside", coco(images=[*IMAGES, {"id": 3, "file_name": "../../a.png"}]), 2, 2),
    "coco: absolute": ("name_outside", coco(images=[*IMAGES, {"id": 3, "file_name": "/etc/a.png"}]), 2, 2),
    "coco: unused class": (
        "class_unused",
        coco(categories=[{"id": k, "name": name} for k, name in enumerate(("x", "bolt", "nut"))]), 2, 2),
    "coco: no boxes": (
        "image_without_boxes", {**coco(**ONE_MORE), "images/c.png": PNG}, 3, 2),
    "coco: cut image": ("image_unreadable", {**coco(), "images/b.png": PNG[:40]}, 1, 1),
    "voc: not XML": ("malformed", voc(**{"Annotations/b.xml": b"<annotation>"}), 1, 1),
    "voc: a corner is no number": (
        "malformed",
        voc(**{"Annotations/a.xml": voc_xml(voc_box() + voc_box("bolt", ("x", 1, 2, 2)))}), 1, 1),
    "voc: nothing between its corners": (
        "box_without_area",
        voc(**{"Annotations/a.xml": voc_xml(voc_box() + voc_box("bolt", (5, 5, 4, 9)))}), 1, 1),
    "voc: of no image": ("image_missing", voc(**{"Annotations/b.xml": voc_xml(name="b.png")}), 1, 1),
    "voc: upwards": ("name_outside", voc(**{"Annotations/b.xml": voc_xml(name="../../a.png")}), 1, 1),
    "yolo: three numbers": (
        "malformed", yolo(**{"labels/a.txt": b"0 0.5 0.5 0.2 0.2\n0 0.1 0.1 0.1\n"}), 1, 1),
    "yolo: words": ("malformed", yolo(**{"labels/a.txt": b"0 0.5 0.5 0.2 0.2\nbolt 0 0 1 1\n"}), 1, 1),
    "yolo: pixels": ("malformed", yolo(**{"labels/a.txt": b"0 0.5 0.5 0.2 0.2\n0 30 20 5 5\n"}), 1, 1),
    "yolo: not UTF-8": (
        "malformed", yolo(**{"images/b.png": PNG, "labels/b.txt": b"\xff\xfe0 1"}), 2, 1),
    "yolo: class 9": (
        "class_unknown", yolo(**{"labels/a.txt": b"0 0.5 0.5 0.2 0.2\n9 0.5 0.5 0.1 0.1\n"}), 1, 1),
    "yolo: label of no image": ("label_without_image", yolo(**{"labels/b.txt": b""}), 1, 1),
    "yolo: no boxes": ("image_without_boxes", yolo(**{"images/b.png": PNG}), 2, 1),
    "yolo: half outside": ("box_outside", yolo(**{"labels/a.txt": b"0 0 0.5 0.5 0.5\n"}), 1, 1),
    "folders: image of no class": ("annotation_missing", {"cat/a.png": PNG, "b.png": PNG}, 1, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_problem_is_counted_once_and_what_is_left_is_good(name: str) -> None:
    kind, content, num_images, num_boxes = CASES[name]
    dataset, problems = read_content(content)
    assert problems.count(kind) == 1, problems
    assert {each.kind for each in problems.found} <= {kind, "image_without_boxes", "class_unused"}
    assert len(dataset.images) == num_images
    assert dataset.num_boxes == num_boxes
    for image in dataset.images:
        assert (image.boxes[:, 2:] > image.boxes[:, :2]).all()
        assert (image.boxes >= 0).all()
        assert (image.boxes <= (image.width, image.height) * 2).all()
    if KINDS[kind].harmless:
        problems.refuse("x")
    else:
        with pytest.raises(SpecError, match=f"1 {KINDS[kind].text}"):
            problems.refuse("x")


def test_all_kinds_that_reading_finds_are_among_the_cases() -> None:
    beyond_one_folder = {"image_in_two_splits"}
    of_masks = {kind for kind in KINDS if kind.startswith("mask_")}
    assert {kind for kind, *_ in CASES.values()} == KINDS.keys() - beyond_one_folder - of_masks


def test_voc_lists_name_images_without_annotations_and_unknown_classes() -> None:
    content = voc(**{"ImageSets/Main/train.txt": b"a  1\nmissing\n../a\na\n\nnot here -1\n"})
    dataset, problems = read_content(content, split="train")
    assert [image.name for image in dataset.images] == ["JPEGImages/a.png"]
    kinds = ("annotation_missing", "name_outside", "image_duplicate_name")
    assert [problems.count(kind) for kind in kinds] == [1, 1, 1]
    _, problems = read_content(voc(), description={"names": ["nut"]})
    assert problems.count("class_unknown") == 1


def test_clipped_boxes_end_at_the_image() -> None:
    dataset, _ = read_content(coco(annotations=[box(1, 1, 1, [-5, -5, 100, 100]), GOOD[1]]))
    np.testing.assert_array_equal(dataset.images[0].boxes, [[0, 0, WIDTH, HEIGHT]])


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_sizes_are_of_the_upright_image(image_format: str, orientation: int) -> None:
    extension = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp"}[image_format]
    body = picture(WIDTH, HEIGHT, image_format=image_format, orientation=orientation)
    shown = (HEIGHT, WIDTH) if orientation > 4 else (WIDTH, HEIGHT)
    content = yolo()
    del content["images/a.png"]
    content[f"images/a.{extension}"] = body
    for look in ("sizes", "pixels"):
        dataset, _ = read_content(content, look=look)  # type: ignore[arg-type]
        assert (dataset.images[0].width, dataset.images[0].height) == shown
    stated = {"id": 1, "file_name": f"a.{extension}", "width": WIDTH, "height": HEIGHT}
    turned = {**coco(images=[stated], annotations=GOOD[:1]), f"images/a.{extension}": body}
    assert read_content(turned)[1].count("image_size_differs") == (shown != (WIDTH, HEIGHT))


def test_without_looking_the_stated_size_stands() -> None:
    content = coco(images=[{**IMAGES[0], "width": 99}, {"id": 2, "file_name": "b.png"}])
    dataset, problems = read_content(content, look="names")
    assert [image.width for image in dataset.images] == [99, WIDTH]
    assert problems.count("image_size_differs") == 0


BOMB = b"""<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;">]>
<annotation><filename>&d;</filename></annotation>"""
LEAK = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<annotation><filename>&x;</filename></annotation>"""


@pytest.mark.parametrize("body", [BOMB, LEAK], ids=["bomb", "external entity"])
def test_entities_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="DOCTYPE"):
        parse_annotation(body)
    dataset, problems = read_content(voc(**{"Annotations/b.xml": body}))
    assert problems.count("malformed") == 1
    assert len(dataset.images) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html/>", "its root is <html>"),
        (b"", "no well-formed XML"),
        (b"<annotation>" + b"<a>" * 40 + b"</a>" * 40 + b"</annotation>", "nested more than"),
    ],
    ids=["another root", "empty", "deep"],
)
def test_what_is_no_annotation(body: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_annotation(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "is not JSON"),
        (b"[]", "no list images, annotations, categories"),
        (b'{"images": [], "annotations": {}, "categories": []}', "no list annotations"),
        (b"[" * 100_000, "is not JSON"),
    ],
    ids=["cut", "a list", "a mapping of annotations", "deep"],
)
def test_what_is_no_document(body: bytes, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_document(body, "x.json")


@pytest.mark.parametrize(
    "categories",
    [
        [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}],
        [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}],
        [{}],
    ],
    ids=["id twice", "name twice", "neither"],
)
def test_categories_must_be_told_apart(categories: list[dict[str, Any]]) -> None:
    with pytest.raises(SpecError, match="categories"):
        read_content(coco(categories=categories))


def test_examples_are_few_and_counts_are_of_all() -> None:
    log = ProblemLog()
    for k in range(50):
        log.add("malformed", f"line {k}")
    both = merge_problems([log.problems(), log.problems()])
    assert both.count("malformed") == 100
    assert len(both.found[0].examples) == MAX_EXAMPLES
    with pytest.raises(ValueError, match="kind must be one of"):
        log.add("nonsense", "x")
