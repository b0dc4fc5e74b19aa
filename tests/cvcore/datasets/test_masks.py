from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from cvcore.datasets.description import parse_description
from cvcore.datasets.mask_files import (
    IGNORED,
    class_ids,
    draw_instances,
    encode_mask,
    read_mask,
    voc_palette,
)
from cvcore.datasets.mask_layout import find_masks, read_masks
from cvcore.datasets.masks import MaskDataset, MaskLoader, check_masks
from cvcore.datasets.problems import ProblemLog
from cvcore.errors import ImageError, SpecError
from tests.datasets import files_of, picture

Mask = npt.NDArray[np.uint8]


def png(values: Any, mode: str = "L") -> bytes:
    body = io.BytesIO()
    Image.fromarray(np.asarray(values, np.uint8)).convert(mode).save(body, "PNG")
    return body.getvalue()


def mask(*values: int, width: int = 6, height: int = 4) -> Mask:
    found = np.zeros((height, width), np.uint8)
    found.flat[: len(values)] = values
    return found


def read(
    content: Mapping[str, bytes], split: str | None = None, said: Mapping[str, Any] | None = None
) -> tuple[MaskDataset, ProblemLog, MaskLoader]:
    files, log = files_of(content), ProblemLog()
    description = parse_description(said or {}, "dataset.yaml")
    found = read_masks(files, find_masks(files, description), description, split, log=log)
    return found, log, MaskLoader(files, found.values, log)


def test_palette_pngs_come_back_in_the_colours_of_voc() -> None:
    values = mask(0, 1, 2, 20, 254, 255)
    body = encode_mask(values)
    np.testing.assert_array_equal(read_mask(body, name="a.png"), values)
    with Image.open(io.BytesIO(body)) as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((1, 0)) == (128, 0, 0)
    colours = voc_palette()
    assert colours[[0, 15, 255]].tolist() == [[0, 0, 0], [192, 128, 128], [224, 224, 192]]
    assert len(np.unique(colours, axis=0)) == 256


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"nothing", "corrupt"), (png(mask(), "RGB"), "unsupported"), (png(mask())[:-20], "corrupt")],
    ids=["no image", "colours", "cut off"],
)
def test_files_that_are_no_masks(body: bytes, code: str) -> None:
    with pytest.raises(ImageError, match=r"a\.png") as caught:
        read_mask(body, name="a.png")
    assert caught.value.code == code


def test_a_mask_may_be_as_large_as_images_may_but_a_header_may_not_claim_the_world() -> None:
    height, width = 14_000, 13_000  # more than Pillow opens by itself
    body = encode_mask(np.zeros((height, width), np.uint8))
    assert read_mask(body, name="a.png").shape == (height, width)
    claimed = body[:16] + struct.pack(">II", 40_000, 40_000) + body[24:29]
    claimed += struct.pack(">I", zlib.crc32(claimed[12:29])) + body[33:]
    with pytest.raises(ImageError, match=r"a\.png: 40000x40000 pixels, more than") as caught:
        read_mask(claimed, name="a.png")
    assert caught.value.code == "too_large"


def test_values_that_are_no_class_are_not_judged_and_named() -> None:
    found, strange = class_ids(mask(0, 7, 9, 255), (0, 7))
    assert found.flat[:4] == pytest.approx([0, 1, IGNORED, IGNORED])
    assert strange == [9]
    found, strange = class_ids(mask(0, 255, 255), (0, 255))
    assert found.flat[:3] == pytest.approx([0, 1, 1])
    assert strange == []


@pytest.mark.parametrize(
    ("images", "masks", "splits"),
    [
        ("images/{}.jpg", "masks/{}.png", ()),
        ("image/{}.png", "label/{}.png", ()),
        ("images/train/{}.png", "masks/train/{}.png", ("train",)),
        ("valid/images/{}.png", "valid/masks/{}.png", ("val",)),
    ],
)
def test_mask_folders(images: str, masks: str, splits: tuple[str, ...]) -> None:
    content = {}
    for name in ("a", "b"):
        content[images.format(name)] = picture(6, 4)
        content[masks.format(name)] = png(mask(0, 2, 3))
    content[images.format("c")] = picture(6, 4)  # without a mask
    found, log, loader = read(content, *splits)
    assert [record.name for record in found.images] == [images.format(name) for name in "ab"]
    assert found.labels == ("background", "class 1", "class 2", "class 3")
    assert loader.load(found.images[0], height=4, width=6) is not None
    assert not log.problems().found
    with pytest.raises(SpecError, match="no split 'test'"):
        read(content, "test")


def test_black_and_white_masks_are_two_classes_whatever_they_are_called() -> None:
    content = {"images/a.png": picture(6, 4), "masks/a.png": png(mask(255))}
    found, _, loader = read(content)
    assert (found.labels, found.values) == (("background", "object"), (0, 255))
    loaded = loader.load(found.images[0], height=4, width=6)
    assert loaded is not None
    assert loaded.flat[:2] == pytest.approx([1, 0])
    named, _, _ = read(content, said={"names": ["membrane", "cell"]})
    assert (named.labels, named.values) == (("membrane", "cell"), (0, 255))


def test_a_description_names_classes_and_lists() -> None:
    content = {"few.txt": b"a\nimages/c.png\nmissing\n"}
    for name in "abc":
        content |= {f"images/{name}.png": picture(6, 4), f"masks/{name}.png": png(mask(1))}
    found, log, _ = read(content, "val", {"val": "few.txt", "names": ["sky", "road", "car"]})
    assert [record.name for record in found.images] == ["images/a.png", "images/c.png"]
    assert found.labels == ("sky", "road", "car")
    assert log.problems().count("mask_missing") == 1


def test_voc_has_its_classes_its_lists_and_void() -> None:
    content = {
        "ImageSets/Segmentation/train.txt": b"a\n",
        "ImageSets/Segmentation/val.txt": b"b\nlost\n",
        "Annotations/a.xml": b"",
    }
    for name in "ab":
        content[f"JPEGImages/{name}.jpg"] = picture(6, 4, image_format="JPEG")
        content[f"SegmentationClass/{name}.png"] = encode_mask(mask(15, 255, 0))
    found, log, loader = read(content, "val")
    assert [record.name for record in found.images] == ["JPEGImages/b.jpg"]
    assert (len(found.labels), found.labels[15]) == (21, "person")
    loaded = loader.load(found.images[0], height=4, width=6)
    assert loaded is not None
    assert loaded.flat[:3] == pytest.approx([15, 255, 0])
    assert log.problems().count("mask_missing") == 1


def coco(**changes: Any) -> dict[str, bytes]:
    square = [[0, 0, 4, 0, 4, 4, 0, 4]]
    rle = coco_mask.encode(np.asfortranarray(np.eye(4, 6, dtype=np.uint8)))
    annotations = [
        {"image_id": 1, "category_id": 7, "segmentation": square},
        {"image_id": 1, "category_id": 3, "segmentation": {"size": [4, 6], "counts": rle["counts"].decode()}},
        {"image_id": 1, "category_id": 3, "iscrowd": 1, "segmentation": [[3, 0, 6, 0, 6, 2, 3, 2]]},
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "nut"}, {"id": 3, "name": "bolt"}],
        **changes,
    }
    return {
        "annotations.json": json.dumps(document).encode(),
        "images/a.png": picture(6, 4),
        "images/b.png": picture(6, 4),
    }


def test_coco_instances_become_classes() -> None:
    found, log, loader = read(coco())
    assert found.labels == ("background", "bolt", "nut")
    loaded = loader.load(found.images[0], height=4, width=6)
    assert loaded is not None
    assert np.diag(loaded).tolist() == [1, 1, 1, 1]  # the smaller one lies on the larger one
    assert (loaded[0, 1], loaded[0, 5], loaded[3, 5]) == (2, IGNORED, 0)
    empty = loader.load(found.images[1], height=4, width=6)
    assert empty is not None
    assert not empty.any()
    assert log.problems().count("mask_without_objects") == 1


def panoptic(ids: list[int], **changes: Any) -> dict[str, bytes]:
    """COCO's own layout, with 4 x 6 pixels of segments, row by row."""
    pixels = np.resize(np.array(ids), (4, 6))
    colours = np.stack([pixels % 256, pixels // 256 % 256, pixels // 256**2], axis=-1).astype(np.uint8)
    segments = [
        {"id": 70_000, "category_id": 9, "iscrowd": 0},
        {"id": 300, "category_id": 4, "iscrowd": 0},
        {"id": 5, "category_id": 9, "iscrowd": 0},
        {"id": 6, "category_id": 4, "iscrowd": 1},
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 9, "name": "sky", "isthing": 0}, {"id": 4, "name": "car", "isthing": 1}],
        **changes,
    }
    body = io.BytesIO()
    Image.fromarray(colours).save(body, "PNG")
    return {
        "annotations/panoptic_val2017.json": json.dumps(document).encode(),
        "annotations/panoptic_val2017/a.png": body.getvalue(),
        "val2017/a.jpg": picture(6, 4, image_format="JPEG"),
        "val2017/b.jpg": picture(6, 4, image_format="JPEG"),
    }


def test_panoptic_segments_become_classes() -> None:
    found, log, loader = read(panoptic([70_000, 300, 5, 6, 0, 77]), "val")
    assert found.labels == ("car", "sky")
    assert [record.name for record in found.images] == ["val2017/a.jpg"]
    loaded = loader.load(found.images[0], height=4, width=6)
    assert loaded is not None
    assert loaded[2].tolist() == [1, 0, 1, IGNORED, IGNORED, IGNORED]
    problems = log.problems()
    assert problems.count("mask_class_unknown") == 1  # 77 is in no list; 0 is none, and 6 a crowd
    assert problems.count("mask_missing") == 1


def test_panoptic_pngs_that_are_none() -> None:
    content = panoptic([5])
    content["annotations/panoptic_val2017/a.png"] = png(mask(1, 2))
    found, log, loader = read(content, "val")
    assert loader.load(found.images[0], height=4, width=6) is None
    assert "segments are colours of an RGB PNG" in log.problems().found[-1].examples[0]
    with pytest.raises(SpecError, match="must differ"):
        read(panoptic([5], categories=[{"id": 9, "name": "sky"}, {"id": 9, "name": "car"}]), "val")


def test_more_classes_than_a_pixel_can_say() -> None:
    many = [{"id": k, "name": f"class {k}"} for k in range(300)]
    for content, split in ((panoptic([5], categories=many), "val"), (coco(categories=many), None)):
        with pytest.raises(SpecError, match="a mask holds 255 classes, not 30"):
            read(content, *([split] if split else []))


def test_of_cocos_documents_only_instances_are_read() -> None:
    """Captions, key points and panoptic lie in the same folder."""
    content = coco()
    body = content.pop("annotations.json")
    others = dict.fromkeys(("captions", "person_keypoints", "stuff"), b'{"images": 5}')
    content |= {f"annotations/{name}_train2017.json": text for name, text in others.items()}
    content["annotations/instances_train2017.json"] = body
    content |= {name.replace("val2017", "train2017"): text for name, text in panoptic([5]).items()}
    found, _, _ = read(content, "train")
    assert found.labels == ("background", "bolt", "nut")
    assert [record.name for record in found.images] == ["images/a.png", "images/b.png"]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"size": [9, 9], "counts": [81]}, "4 x 6 pixels is needed"),
        ({"counts": "04"}, "size is"),
        (5, "lists of numbers"),
    ],
)
def test_segmentations_that_are_none(shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_instances([(1, shape, False)], height=4, width=6)


def test_every_problem_is_counted() -> None:
    content = {
        "images/size.png": picture(6, 4),
        "masks/size.png": png(mask(1, width=5)),
        "images/broken.png": picture(6, 4),
        "masks/broken.png": b"no",
        "images/strange.png": picture(6, 4),
        "masks/strange.png": png(mask(1, 9)),
        "images/empty.png": picture(6, 4),
        "masks/empty.png": png(mask()),
    }
    found, log, _ = read(content, said={"names": ["a", "b", "c"]})
    check_masks(found, files_of(content), {record.name: (6, 4) for record in found.images}, log)
    counted = {problem.kind: problem.count for problem in log.problems().found}
    assert counted == {
        "mask_unreadable": 1,
        "mask_size_differs": 1,
        "mask_class_unknown": 1,
        "mask_without_objects": 1,
    }
    assert [p.kind for p in log.problems().serious] == list(counted)[:3]


def test_a_folder_without_masks() -> None:
    with pytest.raises(SpecError, match="holds no masks: it needs images/ with masks/"):
        find_masks(files_of({"images/a.png": picture(4, 4)}), parse_description({}, "dataset.yaml"))
