"""A dataset with a class for each image: decoded once, kept as far as memory is allowed, then read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cvcore.datasets.records import ImageRecord
from cvcore.image.decode import CanvasImage, decode_to_canvas
from cvcore.train.kept import read_all
from cvcore.train.samples import ReadFile
from cvcore.types import InputSpec

LONGEST = 3
"""Of a stored picture's longer side, in shorter ones: longer strips are squeezed."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image, not decoded.

    Attributes:
        name: inside its dataset.
        height, width: pixels.
        label_id: index into the model's labels.
        box: xyxy, pixels, of localisation's datasets.
    """

    name: str
    height: int
    width: int
    label_id: int
    box: tuple[float, float, float, float] | None = None


def picture_of(record: ImageRecord, own_ids: Sequence[int], *, place: int | None = None) -> Picture:
    """A record as a picture: of its class, or of its box number `place`; `own_ids` are the model's labels."""
    box = None
    if place is not None:
        x1, y1, x2, y2 = record.boxes[place].tolist()
        box = (x1, y1, x2, y2)
    label_id = own_ids[int(record.label_ids[place or 0])]
    return Picture(record.name, record.height, record.width, label_id, box)


Canvas = Callable[[Picture], InputSpec]
"""How a picture is decoded."""


def whole_canvas(edge_px: int) -> Canvas:
    """Decode all of a picture, its shorter side as long as said, for random crops of it."""

    def canvas(picture: Picture) -> InputSpec:
        shorter = min(picture.height, picture.width)
        height, width = (
            min(round(edge_px * side / shorter), LONGEST * edge_px)
            for side in (picture.height, picture.width)
        )
        return InputSpec(height, width, fit="stretch")

    return canvas


class PictureSet:
    """Pictures with their pixels.

    Attributes:
        pictures: those that can be decoded.
        failures: the others, counted by why.
    """

    def __init__(
        self, pictures: Sequence[Picture], read_image: ReadFile, canvas: Canvas, *, max_cached_bytes: int
    ) -> None:
        """Decode all of them once."""
        found = read_all(
            [partial(self._decode, read_image, canvas, picture) for picture in pictures],
            lambda drawn: drawn.canvas.nbytes,
            max_bytes=max_cached_bytes,
        )
        self._images, self.failures = found.kept, found.failures
        self.pictures = tuple(pictures[place] for place in found.places)

    def __len__(self) -> int:
        return len(self.pictures)

    def decode(self, indices: Sequence[int]) -> list[CanvasImage]:
        """The pixels of some pictures, in their order."""
        return self._images.take(indices)

    @staticmethod
    def _decode(read_image: ReadFile, canvas: Canvas, picture: Picture) -> CanvasImage:
        return decode_to_canvas(read_image(picture.name), canvas(picture), name=picture.name)

    def box_on(self, index: int, drawn: CanvasImage) -> Tensor | None:
        """The box of a picture, (1, 4) float32 xyxy canvas pixels; None where it has none."""
        box = self.pictures[index].box
        return None if box is None else drawn.fit.to_canvas(torch.tensor([box]))
