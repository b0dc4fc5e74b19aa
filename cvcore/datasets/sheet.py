"""A contact sheet: some of a dataset's images with their boxes, in one picture."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cvcore.datasets.files import ReadFile
from cvcore.datasets.records import BoxDataset, ImageRecord
from cvcore.draw import DrawnBox, Picture, draw_scene, track_color
from cvcore.image.decode import open_image

CELL_PX = 320
_GAP_PX = 4
_BACKGROUND = (245, 245, 245)


def choose_images(dataset: BoxDataset, num: int, *, seed: int) -> tuple[ImageRecord, ...]:
    """A sample of the images, in their order; all of them where there are not more.

    Raises:
        ValueError: if `num` is less than 1.
    """
    if num < 1:
        raise ValueError(f"num must be at least 1, got {num}")
    images = dataset.images
    places = sorted(random.Random(seed).sample(range(len(images)), min(num, len(images))))
    return tuple(images[place] for place in places)


def contact_sheet(images: Sequence[ImageRecord], labels: Sequence[str], read: ReadFile) -> Picture:
    """Draw images in cells of `CELL_PX`, a square as near as they fill; (H, W, 3) uint8 RGB.

    Boxes have the colours of their classes; images with a class and no boxes say it.

    Raises:
        ValueError: for no images.
        ImageError: for an image that cannot be decoded.
    """
    if not images:
        raise ValueError("a sheet needs at least one image")
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    step = CELL_PX + _GAP_PX
    sheet = Image.new("RGB", (columns * step + _GAP_PX, rows * step + _GAP_PX), _BACKGROUND)
    for place, image in enumerate(images):
        cell = Image.fromarray(_cell(image, labels, read))
        x, y = (_GAP_PX + step * at for at in (place % columns, place // columns))
        sheet.paste(cell, (x + (CELL_PX - cell.width) // 2, y + (CELL_PX - cell.height) // 2))
    return np.asarray(sheet)


def _cell(image: ImageRecord, labels: Sequence[str], read: ReadFile) -> Picture:
    picture = open_image(read(image.name), name=image.name)
    scale = CELL_PX / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    small = picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    scales = np.array([width / image.width, height / image.height] * 2)
    drawn = [
        DrawnBox((x1, y1, x2, y2), labels[k], track_color(k), faint=bool(facts.get("crowd")))
        for (x1, y1, x2, y2), k, facts in zip(
            (image.boxes * scales).tolist(), image.label_ids.tolist(), image.attributes, strict=False
        )
    ]
    note = "" if len(image.boxes) or not len(image.label_ids) else labels[int(image.label_ids[0])]
    return draw_scene(np.asarray(small), drawn, note=note)
