"""Datasets of masks in every format that they are written in, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from typer.testing import CliRunner

from cluster.cli import app
from cvcore.datasets.mask_files import IGNORED, encode_mask
from cvcore.datasets.mask_write import MASK_TARGETS
from cvcore.errors import SpecError
from cvcore.metrics.mask_quality import assess_masks
from cvcore.scenes import SceneSpec, write_scenes
from jobs.mask_convert import convert_masks
from jobs.masks import open_masks
from jobs.storage import Access

LABELS = ("background", "road", "car", "sky")
Maps = dict[tuple[str, bytes], npt.NDArray[np.uint8]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three images, of which two have one name in different folders, and masks of four classes."""
    folder, rng = tmp_path / "data", np.random.default_rng(0)
    for k, name in enumerate(("train/a", "train/b/a", "val/a")):
        for kind in ("images", "masks"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        size = (20 + k, 30)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"images/{name}.png")
        ids = rng.integers(0, 5, size).astype(np.uint8)
        ids[ids == 4] = IGNORED
        (folder / f"masks/{name}.png").write_bytes(encode_mask(ids))
    (folder / "dataset.yaml").write_text(f"names: {json.dumps(LABELS)}")
    return folder


def maps_of(folder: Path) -> Maps:
    """The maps of a dataset by split and by the image's bytes: names may change."""
    source, found = open_masks(str(folder)), {}
    for split in source.splits if source.has_splits else (None,):
        dataset = source.read(split)
        assert dataset.labels == LABELS
        loader = source.loader(dataset)
        for record in dataset.images:
            with Image.open(folder / record.name) as image:
                ids = loader.load(record, height=image.height, width=image.width)
            assert ids is not None
            found[split or "", (folder / record.name).read_bytes()] = ids
    assert not source.log.problems().found
    return found


def assert_equal(found: Maps, expected: Maps) -> None:
    assert found.keys() == expected.keys()
    for key, ids in expected.items():
        np.testing.assert_array_equal(found[key], ids)


@pytest.mark.parametrize("first", MASK_TARGETS)
@pytest.mark.parametrize("second", MASK_TARGETS)
def test_round_trips_keep_every_pixel_and_the_splits(
    first: str, second: str, data: Path, tmp_path: Path
) -> None:
    expected = maps_of(data)
    assert len(expected) == 3
    one = convert_masks(open_masks(str(data)), str(tmp_path / "1"), to=first, access=Access())
    assert (one.num_images, one.num_boxes, dict(one.losses)) == (3, None, {})
    assert_equal(maps_of(tmp_path / "1"), expected)
    two = convert_masks(open_masks(one.uri), str(tmp_path / "2"), to=second, access=Access(), link=True)
    assert two.num_images == 3
    assert_equal(maps_of(tmp_path / "2"), expected)


def test_a_split_alone_is_that_split(data: Path, tmp_path: Path) -> None:
    convert_masks(open_masks(str(data)), str(tmp_path / "out"), to="voc", access=Access(), split="val")
    expected = {key: ids for key, ids in maps_of(data).items() if key[0] == "val"}
    assert_equal(maps_of(tmp_path / "out"), expected)


def test_black_and_white_masks_become_two_classes(tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    rows = np.tile(np.arange(12, dtype=np.uint8)[:, None], (1, 9))
    Image.fromarray(rows).save(tmp_path / "data/images/a.png")
    Image.fromarray(np.where(rows > 5, 255, 0).astype(np.uint8)).save(tmp_path / "data/masks/a.png")
    for to in MASK_TARGETS:
        convert_masks(open_masks(str(tmp_path / "data")), str(tmp_path / to), to=to, access=Access())
        source = open_masks(str(tmp_path / to))
        dataset = source.read()
        assert dataset.labels == ("background", "object")
        ids = source.loader(dataset).load(dataset.images[0], height=12, width=9)
        np.testing.assert_array_equal(ids, rows > 5)


def test_instances_become_one_map_and_that_is_said(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", num_scenes=2, seed=0, spec=SceneSpec(min_side=160, max_side=200))
    document = json.loads((tmp_path / "scenes/annotations.json").read_text())
    done = convert_masks(
        open_masks(str(tmp_path / "scenes")), str(tmp_path / "out"), to="coco", access=Access()
    )
    assert done.losses == {"objects, drawn into the map of their classes": len(document["annotations"])}
    written = json.loads((tmp_path / "out/annotations.json").read_text())
    kinds = {(each["image_id"], each["category_id"]) for each in document["annotations"]}
    assert {(each["image_id"], each["category_id"]) for each in written["annotations"]} == kinds
    found = [{**each, "score": 1.0} for each in written["annotations"]]
    assert assess_masks(written, found).metrics.ap == pytest.approx(1.0)  # pycocotools reads it


def test_an_image_whose_mask_cannot_be_used_is_left_out(data: Path, tmp_path: Path) -> None:
    (data / "masks/train/a.png").write_bytes(b"no mask")
    source = open_masks(str(data))
    with pytest.raises(SpecError, match="1 masks that cannot be read"):
        convert_masks(source, str(tmp_path / "out"), to="voc", access=Access(), strict=True)
    assert not (tmp_path / "out").exists()
    done = convert_masks(open_masks(str(data)), str(tmp_path / "out"), to="voc", access=Access())
    assert done.num_images == 2
    assert done.problems.count("mask_unreadable") == 1
    assert len(maps_of(tmp_path / "out")) == 2


def test_the_background_has_no_name_in_coco(data: Path, tmp_path: Path) -> None:
    (data / "dataset.yaml").write_text('names: [ground, "road", "car", "sky"]')
    done = convert_masks(open_masks(str(data)), str(tmp_path / "out"), to="coco", access=Access())
    assert done.losses == {"background's name, ground": 1}


def test_the_command(data: Path, tmp_path: Path) -> None:
    def convert(*options: str) -> str:
        command = ["dataset", "convert", str(data), "--out", str(tmp_path / "out"), *options]
        return CliRunner().invoke(app, command).output

    assert "there is no format 'yolo' to write" in convert("--masks", "--to", "yolo")
    assert "Formats: masks, voc, coco" in convert("--masks", "--to", "yolo")
    assert f"3 images, with masks: {tmp_path / 'out'}" in convert("--to", "masks")
    assert "is not empty" in convert("--masks", "--to", "voc")
