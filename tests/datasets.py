"""Datasets to test with: random ones, and folders in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from cvcore.datasets.description import Description, parse_description
from cvcore.datasets.drafts import Look
from cvcore.datasets.files import Files
from cvcore.datasets.joined import join_datasets
from cvcore.datasets.layout import find_layout
from cvcore.datasets.problems import ProblemLog, Problems
from cvcore.datasets.read import DatasetReader
from cvcore.datasets.records import BoxDataset, ImageRecord
from cvcore.datasets.write import Target, write_dataset

LABELS = ("bolt", "gear & nut", "<Ring>", "ümlaut")


def picture(width: int, height: int, *, image_format: str = "PNG", orientation: int = 1) -> bytes:
    """An image file; `orientation` is EXIF's, so that a turned one is seen as height x width."""
    body = io.BytesIO()
    exif = Image.Exif()
    if orientation != 1:
        exif[ExifTags.Base.Orientation] = orientation
    Image.new("RGB", (width, height), (90, 120, 150)).save(body, image_format, exif=exif)
    return body.getvalue()


def files_of(content: Mapping[str, bytes]) -> Files:
    """A dataset's folder in memory."""
    return Files(tuple(sorted(content)), lambda name: content[name], lambda name, num: content[name][:num])


def read_content(
    content: Mapping[str, bytes],
    *,
    split: str | None = None,
    look: Look = "sizes",
    description: Mapping[str, Any] | None = None,
) -> tuple[BoxDataset, Problems]:
    """Read a folder in memory: a split, or everything."""
    files = files_of(content)
    said = Description() if description is None else parse_description(description, "dataset.yaml")
    layout = find_layout(files.names, said)
    reader, log = DatasetReader(files, layout), ProblemLog()
    if split is not None:
        return reader.read(layout.splits[split], log=log, look=look), log.problems()
    entries = [layout.whole] if layout.whole else list(layout.splits.values())
    return join_datasets([reader.read(e, log=log, look=look) for e in entries]), log.problems()


def random_dataset(
    seed: int, *, whole_pixels: bool = False, rich: bool = True, num: int = 6
) -> tuple[BoxDataset, dict[str, bytes]]:
    """A dataset with as many kinds of facts as COCO has, and its images by record name.

    Args:
        seed: of everything.
        whole_pixels: corners at whole pixels, as VOC has them.
        rich: with ids, areas, crowds, polygons and details; else boxes alone.
        num: images; the last one has no boxes.
    """
    rng = np.random.default_rng(seed)
    images, bodies = [], {}
    next_id = int(rng.integers(1, 1000))
    for k in range(num):
        width, height = (int(side) for side in rng.integers(20, 900, 2))
        count = 0 if k == num - 1 else int(rng.integers(1, 9))
        corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1) * (width, height)
        boxes = corners.reshape(-1, 4)
        if whole_pixels:
            boxes = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
        boxes = np.unique(np.round(boxes, 6), axis=0).reshape(-1, 4)
        facts: list[dict[str, Any]] = []
        for box in boxes:
            next_id += int(rng.integers(1, 9))
            facts.append(_facts(rng, box, next_id) if rich else {})
        name = f"images/{'sub/' * (k % 2)}im {k}.png"
        label_ids = rng.integers(0, len(LABELS), len(boxes))
        details = {"id": 10 + 3 * k, "license": int(k % 3), "date_captured": "2013-11-14"} if rich else {}
        images.append(ImageRecord(name, width, height, boxes, label_ids, tuple(facts), details))
        bodies[name] = picture(width, height)
    if not rich:
        return BoxDataset(tuple(images), LABELS), bodies
    categories = tuple({"id": 5 * k + 2, "supercategory": "part"} for k in range(len(LABELS)))
    info = {"info": {"year": 2026}}
    return BoxDataset(tuple(images), LABELS, label_details=categories, details=info), bodies


def _facts(rng: np.random.Generator, box: np.ndarray, number: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": number, "area": float(np.round(rng.uniform(1, 999), 3))}
    kind = int(rng.integers(0, 4))
    if kind == 0:
        facts |= {"crowd": True, "segmentation": {"counts": [3, 4, 5], "size": [3, 4]}}
    if kind == 1:
        facts |= {"segmentation": [[*box.tolist(), 0.5, 0.25]], "difficult": True}
    if kind == 2:
        facts |= {"truncated": True, "attributes": {"occluded": False, "text": "a < b & c"}}
    return facts


def converted(
    dataset: BoxDataset, bodies: Mapping[str, bytes], to: Target
) -> tuple[dict[str, bytes], Mapping[str, int]]:
    """The files of a dataset in another format, its images too; and what was lost."""
    output = write_dataset({"": dataset}, to)
    images = {new: bodies[old] for old, new in output.images}
    return {**output.files, **images}, output.losses


def write_folder(folder: Path, content: Mapping[str, bytes]) -> Path:
    """The same on disk."""
    for name, body in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def assert_same(found: BoxDataset, expected: BoxDataset, *, atol: float = 0.0, facts: bool = True) -> None:
    """Same images by size, boxes (up to an error in pixels), labels by name and, if asked for, facts."""
    by_stem = {_key(image): image for image in found.images}
    assert len(found.images) == len(expected.images) == len(by_stem)
    for image in expected.images:
        other = by_stem[_key(image)]
        assert (other.width, other.height) == (image.width, image.height)
        assert other.boxes.shape == image.boxes.shape
        np.testing.assert_allclose(other.boxes, image.boxes, rtol=0, atol=atol)
        labels = [[d.labels[k] for k in i.label_ids] for d, i in ((found, other), (expected, image))]
        assert labels[0] == labels[1]
        if facts:
            assert other.attributes == image.attributes
            assert other.details == image.details


def _key(image: ImageRecord) -> str:
    return image.name.rpartition("/")[2].rpartition("__")[2]
