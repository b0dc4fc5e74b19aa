"""What a file of annotations says, the same whichever format it was read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError
from cvcore.ops.masks import encode_rle
from cvcore.ops.outlines import fill_polygon
from jobs.storage import Access, ObjectMissing, Store, is_s3, join, open_store, resolve_location

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class GivenBox:
    """One object.

    Attributes:
        label: its class.
        box: xyxy, pixels; or shares of the image's sides, see `Given.in_shares`.
        score: None where nothing is said.
        number: of the run's detection that it was exported from; None where nothing is said.
        track_id: None for none.
        mask: COCO compressed RLE at the image's size.
        outline: corners (x, y) of a polygon, in the units of `box`; of a mask that is not drawn yet.
    """

    label: str
    box: Box
    score: float | None = None
    number: int | None = None
    track_id: int | None = None
    mask: Mapping[str, Any] | None = None
    outline: Sequence[tuple[float, float]] = ()


@dataclass(slots=True)
class Given:
    """An image that was looked at.

    Attributes:
        name: as the file calls it: a path, of which the end may be enough to know the image.
        frame_index: of a video, from 0, where `name` is the video's; else None.
        boxes: none where nothing is there.
        in_shares: whether boxes are shares of the image's sides.
        size: width and height, pixels, where stated.
        uri, uri_frame: in the run that it was exported from, where stated.
        by_stem: whether `name` is one without its extension.
    """

    name: str
    frame_index: int | None = None
    boxes: list[GivenBox] = field(default_factory=list)
    in_shares: bool = False
    size: tuple[int, int] | None = None
    uri: str | None = None
    uri_frame: int | None = None
    by_stem: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or a folder of files, to read from."""

    uri: str
    store: Store

    def document(self, name: str, *suffixes: str) -> tuple[str, bytes]:
        """Location and content of the file itself, or of a folder's file of a name.

        Raises:
            SpecError: if neither is there.
        """
        target = self.uri if self.uri.lower().endswith(suffixes) else join(self.uri, name)
        try:
            return target, self.store.read(target)
        except ObjectMissing as error:
            if target == self.uri:
                raise SpecError(f"there is no file {self.uri}") from error
            raise SpecError(f"{self.uri} is no {' or '.join(suffixes)} file and holds no {name}") from error

    def files(self, suffix: str) -> list[str]:
        """Locations of all files at or below it that end so."""
        where = f"{self.uri}/" if is_s3(self.uri) and not self.uri.endswith(suffix) else self.uri
        return [info.uri for info in self.store.walk(where) if info.uri.lower().endswith(suffix)]

    def below(self, uri: str) -> str:
        """A file's path inside the folder."""
        return uri.removeprefix(self.uri.rstrip("/") + "/")


Reader = Callable[[Place], list[Given]]


def open_place(source: str, access: Access) -> Place:
    """Where a user says that annotations are."""
    uri = resolve_location(source).rstrip("/")
    return Place(uri, open_store(uri, access))


def scaled(box: GivenBox, size: tuple[int, int], *, in_shares: bool) -> GivenBox:
    """The same in pixels, its outline drawn as a mask."""
    width, height = size
    x, y = (width, height) if in_shares else (1, 1)
    corners = (box.box[0] * x, box.box[1] * y, box.box[2] * x, box.box[3] * y)
    mask = box.mask
    if box.outline and mask is None:
        points = [(px * x, py * y) for px, py in box.outline]
        mask = one_rle(fill_polygon(points, height=height, width=width))
    return GivenBox(box.label, corners, box.score, box.number, box.track_id, mask)


def one_rle(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The RLE of one mask, (H, W)."""
    return encode_rle(mask[None])[0]


def extent(points: Sequence[tuple[float, float]]) -> Box:
    """The box around some points."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def stem(name: str) -> str:
    """A path without its extension."""
    return str(PurePosixPath(name).with_suffix(""))


def whole(value: Any) -> int | None:
    """A whole number, also as text; None for anything else."""
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        return None


def number_of(value: Any) -> float | None:
    """A number, also as text; None for anything else."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
