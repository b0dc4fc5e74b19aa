"""Figures of datasets, counted by hand; contact sheets; datasets joined."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cvcore.datasets.joined import join_datasets, with_labels
from cvcore.datasets.records import BoxDataset, ImageRecord, no_boxes
from cvcore.datasets.sheet import CELL_PX, choose_images, contact_sheet
from cvcore.datasets.stats import dataset_stats
from cvcore.draw import track_color
from tests.datasets import picture, random_dataset


def record(name: str, boxes: list[list[float]], ids: list[int], **facts: object) -> ImageRecord:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    return ImageRecord(name, 200, 100, array, np.array(ids, np.int64), tuple(dict(facts) for _ in ids))


def test_figures_by_hand() -> None:
    images = (
        record("a", [[0, 0, 32, 32], [0, 0, 31, 32], [0, 0, 96, 96]], [0, 0, 2]),
        record("b", [[0, 0, 100, 50]], [0], area=10.0, crowd=True),
        record("c", [], []),
    )
    found = dataset_stats(BoxDataset(images, ("x", "y", "z")))
    assert (found.num_images, found.num_boxes, found.num_without_boxes) == (3, 4, 1)
    assert [(c.label, c.num_images, c.num_boxes) for c in found.classes] == [
        ("x", 2, 3),
        ("y", 0, 0),
        ("z", 1, 1),
    ]
    assert found.sizes == {"small": 2, "medium": 1, "large": 1}
    assert (found.boxes_per_image.min, found.boxes_per_image.median, found.boxes_per_image.max) == (0, 1, 3)
    assert (found.aspect_ratios.min, found.aspect_ratios.max) == (31 / 32, 2)
    assert found.common_sizes == (((200, 100), 3),)
    assert found.flags == {"crowd": 1, "difficult": 0, "truncated": 0}


def test_an_empty_dataset_has_figures_too() -> None:
    found = dataset_stats(BoxDataset((), ("x",)))
    assert (found.num_images, found.num_boxes) == (0, 0)
    assert math.isnan(found.widths.mean)


def test_classes_without_boxes_are_counted_by_image() -> None:
    image = ImageRecord("x/a.png", 10, 10, no_boxes(), np.array([1]))
    found = dataset_stats(BoxDataset((image,), ("w", "x"), task="classes"))
    assert [(c.num_images, c.num_boxes) for c in found.classes] == [(0, 0), (1, 0)]


def test_a_sheet_shows_boxes_where_they_are() -> None:
    image = ImageRecord(
        "a.png", 2 * CELL_PX, CELL_PX, np.array([[200.0, 100, 400, 200]]), np.array([1]), ({},)
    )
    read = {"a.png": picture(2 * CELL_PX, CELL_PX)}.__getitem__
    sheet = contact_sheet([image], ("x", "y"), read)
    assert sheet.shape == (CELL_PX + 8, CELL_PX + 8, 3)
    top, left = 4 + CELL_PX // 4, 4
    for x, y in ((100, 75), (200, 75), (150, 50), (150, 100)):  # the middles of the sides
        assert tuple(sheet[top + y, left + x]) == track_color(1)
    assert tuple(sheet[top + 75, left + 150]) == (90, 120, 150)


def test_the_same_seed_chooses_the_same_images() -> None:
    dataset, _ = random_dataset(0, num=20)
    one, same, other = ([image.name for image in choose_images(dataset, 5, seed=seed)] for seed in (1, 1, 2))
    assert one == same != other
    assert len(choose_images(dataset, 50, seed=0)) == 20
    with pytest.raises(ValueError, match="num must be at least 1"):
        choose_images(dataset, 0, seed=0)
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([], (), lambda _: b"")


def test_datasets_are_joined_by_the_names_of_classes_and_images() -> None:
    one = BoxDataset((record("a", [[0, 0, 9, 9]], [1]),), ("x", "y"))
    two = BoxDataset((record("a", [], []), record("b", [[0, 0, 9, 9], [1, 1, 5, 5]], [0, 1])), ("z", "y"))
    joined = join_datasets([one, two])
    assert joined.labels == ("x", "y", "z")
    assert [(i.name, i.label_ids.tolist()) for i in joined.images] == [("a", [1]), ("b", [2, 1])]
    with pytest.raises(ValueError, match="not among"):
        with_labels(one, ("x",))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"boxes": np.zeros((1, 5))}, "boxes are"),
        ({"width": 0}, "at least 1x1"),
        ({"attributes": ({}, {})}, "attributes N"),
    ],
    ids=["shape", "size", "attributes"],
)
def test_records_check_themselves(change: dict[str, object], words: str) -> None:
    good = {
        "name": "a",
        "width": 5,
        "height": 5,
        "boxes": np.zeros((1, 4)),
        "label_ids": np.array([0]),
        "attributes": ({},),
    }
    assert ImageRecord(**good).width == 5  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        ImageRecord(**{**good, **change})  # type: ignore[arg-type]


def test_datasets_check_their_labels() -> None:
    with pytest.raises(ValueError, match="must differ"):
        BoxDataset((), ("x", "x"))
    with pytest.raises(ValueError, match="label_ids must be 0 to 0"):
        BoxDataset((record("a", [[0, 0, 1, 1]], [1]),), ("x",))
    with pytest.raises(ValueError, match="1 label_ids and 0 boxes"):
        BoxDataset((ImageRecord("a", 5, 5, no_boxes(), np.array([0])),), ("x",))
