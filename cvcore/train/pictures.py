"""A dataset with a class for each image: decoded once, kept as far as memory is allowed, then read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from cvcore.datasets.records import ImageRecord
from cvcore.errors import ImageError
from cvcore.image.decode import CanvasImage, decode_to_canvas
from cvcore.train.samples import ReadFile
from cvcore.types import InputSpec

READERS = 4
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
        self._read_image, self._canvas = read_image, canvas
        self._kept: dict[str, CanvasImage] = {}
        self.failures: Counter[str] = Counter()
        good: list[Picture] = []
        free = max_cached_bytes
        with ThreadPoolExecutor(READERS) as pool:
            for first in range(0, len(pictures), 64):
                few = pictures[first : first + 64]
                for picture, found in zip(few, pool.map(self._try, few), strict=True):
                    if isinstance(found, ImageError):
                        self.failures[found.code] += 1
                        continue
                    good.append(picture)
                    if found.canvas.nbytes <= free:
                        free -= found.canvas.nbytes
                        self._kept[picture.name] = found
        self.pictures = tuple(good)

    def __len__(self) -> int:
        return len(self.pictures)

    def decode(self, indices: Sequence[int]) -> list[CanvasImage]:
        """The pixels of some pictures, in their order."""
        missing = [self.pictures[i] for i in indices if self.pictures[i].name not in self._kept]
        read: dict[str, CanvasImage] = {}
        if missing:
            with ThreadPoolExecutor(READERS) as pool:
                read = dict(zip((p.name for p in missing), pool.map(self._decode, missing), strict=True))
        names = [self.pictures[i].name for i in indices]
        return [self._kept[name] if name in self._kept else read[name] for name in names]

    def _decode(self, picture: Picture) -> CanvasImage:
        return decode_to_canvas(self._read_image(picture.name), self._canvas(picture), name=picture.name)

    def _try(self, picture: Picture) -> CanvasImage | ImageError:
        try:
            return self._decode(picture)
        except ImageError as error:
            return error

    def box_on(self, index: int, drawn: CanvasImage) -> Tensor | None:
        """The box of a picture, (1, 4) float32 xyxy canvas pixels; None where it has none."""
        box = self.pictures[index].box
        return None if box is None else drawn.fit.to_canvas(torch.tensor([box]))
