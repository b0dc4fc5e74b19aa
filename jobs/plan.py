"""The plan: which versions of which inputs, cut into units. Pure decisions on listed objects."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from jobs.pinned import PinnedInputs, pin_inputs
from jobs.spec import SourceSection
from jobs.storage import ObjectInfo, base_name, name_below

IMAGE_EXTENSIONS = frozenset(
    "jpg jpeg jpe jfif mpo png webp gif bmp dib tif tiff".split(),
)
VIDEO_EXTENSIONS = frozenset("mp4 m4v mov mkv webm avi ts mts m2ts mpg mpeg 3gp".split())
MAX_IMAGES_PER_UNIT = 256
MIN_FRAMES_PER_UNIT = 32
WANTED_SEGMENTS = 16
MIN_IMAGES_PER_UNIT = 8
MAX_UNIT_BYTES = 128 * 2**20
WANTED_UNITS = 64
MAX_FILES = 10_000


@dataclass(frozen=True)
class Selection:
    """Images and videos in byte order of location.

    Attributes:
        skipped: what was passed over, counted by extension.
        num_seen: images and videos that were left out because they were taken before.
    """

    inputs: PinnedInputs
    videos: list[ObjectInfo] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    num_seen: int = 0


@dataclass(frozen=True)
class Plan:
    """A job's pinned inputs and how they are cut: units of images, then each segment of a video as one.

    Attributes:
        job_id: SHA-256, hexadecimal, of spec, inputs, model and code.
        inputs: what is worked on, in order.
        images_per_unit: images in every unit of images but the last.
        units_per_file: units whose rows share one Parquet file.
    """

    job_id: str
    inputs: PinnedInputs
    images_per_unit: int
    units_per_file: int

    @property
    def num_inputs(self) -> int:
        """Images and frames: each gives one result row."""
        return self.inputs.num_results

    @property
    def noun(self) -> str:
        """What the inputs are, in the plural."""
        if self.inputs.num_rows == self.inputs.num_images:
            return "images"
        return "images and frames" if self.inputs.num_images else "frames"

    @property
    def num_image_units(self) -> int:
        return -(-self.inputs.num_images // self.images_per_unit)

    @property
    def num_units(self) -> int:
        return self.num_image_units + self.inputs.num_rows - self.inputs.num_images

    @property
    def num_files(self) -> int:
        return -(-self.num_units // self.units_per_file)

    def unit_rows(self, unit: int) -> tuple[int, int]:
        """First row of a unit in the plan, and how many it has there."""
        if unit >= self.num_image_units:
            return self.inputs.num_images + unit - self.num_image_units, 1
        start = unit * self.images_per_unit
        return start, min(self.images_per_unit, self.inputs.num_images - start)

    def unit_size(self, unit: int) -> int:
        """How many result rows a unit gives."""
        start, count = self.unit_rows(unit)
        return count if unit < self.num_image_units else self.inputs.num_frames(start)

    def uri_of(self, row: int) -> str:
        """Where the input of a row is."""
        return str(self.inputs.rows([row]).column("uri")[0].as_py())

    def units_of_file(self, file: int) -> range:
        """Units whose rows a file holds, in order."""
        start = file * self.units_per_file
        return range(start, min(start + self.units_per_file, self.num_units))


def select_inputs(
    listed: Iterable[ObjectInfo],
    source: SourceSection,
    *,
    unseen: Callable[[Iterable[ObjectInfo]], Iterable[ObjectInfo]] | None = None,
) -> Selection:
    """Choose inputs by name, and of those what `unseen` passes on, in byte order, as they are listed."""
    skipped: Counter[str] = Counter()
    videos: list[ObjectInfo] = []
    num_named, num_new = 0, 0

    def named() -> Iterator[ObjectInfo]:
        nonlocal num_named
        for info in listed:
            if _is_taken(info.uri, source, skipped):
                num_named += 1
                yield info

    def images() -> Iterator[ObjectInfo]:
        nonlocal num_new
        for info in named() if unseen is None else unseen(named()):
            num_new += 1
            if is_video(info.uri):
                videos.append(info)
            else:
                yield info

    inputs = pin_inputs(images())
    return Selection(inputs, videos, dict(skipped), num_named - num_new)


def is_video(uri: str) -> bool:
    """Whether a location's extension is that of a video."""
    return base_name(uri).rpartition(".")[2].lower() in VIDEO_EXTENSIONS


def _is_taken(uri: str, source: SourceSection, skipped: Counter[str]) -> bool:
    inner = name_below(uri, source.uri)
    stem, dot, extension = inner.rpartition("/")[2].rpartition(".")
    kind = f".{extension.lower()}" if dot and stem else "(no extension)"
    if any(fnmatch.fnmatchcase(inner, glob) for glob in source.exclude):
        skipped["excluded"] += 1
        return False
    if source.include:
        taken = any(fnmatch.fnmatchcase(inner, glob) for glob in source.include)
    else:
        known = IMAGE_EXTENSIONS if source.media == "images" else VIDEO_EXTENSIONS
        known = IMAGE_EXTENSIONS | VIDEO_EXTENSIONS if source.media == "all" else known
        unnamed = kind == "(no extension)" and source.media != "videos"
        taken = unnamed or kind[1:] in known or inner == uri
    if not taken:
        skipped[kind] += 1
    return taken


def choose_images_per_unit(num_inputs: int, canvas_bytes: int) -> int:
    """Cut for about `WANTED_UNITS` units, within bounds on inputs and on decoded bytes of one unit.

    Depends on the inputs and the model alone, never on the machine.
    """
    by_bytes = max(1, MAX_UNIT_BYTES // canvas_bytes)
    wanted = max(MIN_IMAGES_PER_UNIT, -(-num_inputs // WANTED_UNITS))
    return min(wanted, MAX_IMAGES_PER_UNIT, by_bytes)


def choose_frames_per_unit(num_frames: int, canvas_bytes: int) -> int:
    """Cut one video for about `WANTED_SEGMENTS` segments, within the same bounds."""
    by_bytes = max(1, MAX_UNIT_BYTES // canvas_bytes)
    wanted = max(MIN_FRAMES_PER_UNIT, -(-num_frames // WANTED_SEGMENTS))
    return min(wanted, MAX_IMAGES_PER_UNIT, by_bytes)


def choose_units_per_file(num_units: int) -> int:
    """1 for small jobs; for large ones as many as keep the job within `MAX_FILES` files."""
    return max(1, -(-num_units // MAX_FILES))


def make_job_id(
    *, identity: str, inputs_digest: str, model_digests: dict[str, str], code_version: str
) -> str:
    """SHA-256, hexadecimal, over everything that decides a job's rows."""
    parts = [identity, inputs_digest, json.dumps(model_digests, sort_keys=True), code_version]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
