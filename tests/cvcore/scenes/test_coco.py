from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from cvcore.scenes import PART_NAMES, SceneSpec, render_scene, write_scenes

SMALL = SceneSpec(max_side=480)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenes")
    write_scenes(path, num_scenes=3, seed=40, spec=SMALL)
    return path


def test_pycocotools_reads_the_same_masks_and_boxes(folder: Path) -> None:
    coco = COCO(str(folder / "annotations.json"))
    for k, image_id in enumerate(sorted(coco.imgs)):
        scene = render_scene(40 + k, SMALL)
        annotations = coco.loadAnns(sorted(coco.getAnnIds(imgIds=image_id)))
        assert len(annotations) == len(scene.boxes)
        for annotation, box, label_id, mask in zip(
            annotations, scene.boxes, scene.label_ids, scene.masks, strict=True
        ):
            assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
            x, y, w, h = annotation["bbox"]
            assert [x, y, x + w, y + h] == box.tolist()
            assert annotation["area"] == mask.sum()
            assert coco.cats[annotation["category_id"]]["name"] == PART_NAMES[label_id]


def test_images_have_the_sizes_that_the_document_gives(folder: Path) -> None:
    document = json.loads((folder / "annotations.json").read_text())
    assert [image["file_name"] for image in document["images"]] == [f"scene-{k:06d}.jpg" for k in range(3)]
    for image in document["images"]:
        with Image.open(folder / "images" / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"])
            assert picture.format == "JPEG"


def test_writing_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path, num_scenes=1, seed=40, spec=SMALL)
    name = "images/scene-000000.jpg"
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
