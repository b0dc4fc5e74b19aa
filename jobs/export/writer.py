"""What every format's writer is given, and what it offers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError
from cvcore.ops.masks import decode_rle
from jobs.export.rows import ExportRow
from jobs.storage import StorageError


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a run before its rows are read.

    Attributes:
        run: its location.
        model_version: name and digest of the model, in one line.
        labels: of the model, in the order of its label ids.
        source: of the run's inputs.
        has_masks, has_tracks, has_videos, has_images: what its rows may hold.
        partial: whether the run is not finished.
    """

    run: str
    model_version: str
    labels: tuple[str, ...]
    source: str
    has_masks: bool
    has_tracks: bool
    has_videos: bool
    has_images: bool
    partial: bool

    @property
    def label_index(self) -> LabelIndex:
        """Places in `labels`."""
        return LabelIndex((label, k) for k, label in enumerate(self.labels))


class LabelIndex(dict[str, int]):
    """Places of labels; one that is not the model's is a run that was altered."""

    def __missing__(self, label: str) -> int:
        raise StorageError(
            f"a row has the label {label!r}, which the run's model does not have: the run was altered"
        )


@dataclass(frozen=True, slots=True)
class Sink:
    """Where a writer writes.

    Attributes:
        folder: local, being filled.
        losses: what the format cannot hold, and how often it was there.
    """

    folder: Path
    losses: Counter[str] = field(default_factory=Counter)


class Writer(Protocol):
    """Writes rows in one format: those that were looked at, in the order in which they come."""

    def __init__(self, sink: Sink, facts: Facts) -> None: ...

    def add(self, row: ExportRow) -> None:
        """Write a row; `row.found` is not None."""

    def close(self) -> None:
        """Write what stands behind all rows."""


def size_of(row: ExportRow, *, to: str) -> tuple[int, int]:
    """Width and height of a row's image.

    Raises:
        SpecError: if the run does not know them, as one that was made of MOT text.
    """
    if not row.width or not row.height:
        raise SpecError(
            f"the run does not know the size of {row.uri}, and {to} needs it: export to coco, csv or mot"
        )
    return row.width, row.height


def found_mask(rle: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
    """The mask of a detection, (H, W).

    Raises:
        StorageError: for what is none: the run was altered.
    """
    try:
        height, width = rle["size"]
        return decode_rle(rle, height=height, width=width)
    except ValueError as error:
        raise StorageError(f"a row holds a mask that is none ({error}): the run was altered") from error


def check_xml_labels(labels: tuple[str, ...], *, to: str) -> None:
    """Refuse labels that XML has no characters for, or nothing to read back.

    Raises:
        SpecError: for labels with control characters, with space around them, or without any letter.
    """
    for label in labels:
        if (
            label != label.strip()
            or not label
            or any(
                ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 or ord(char) in (0xFFFE, 0xFFFF)
                for char in label
            )
        ):
            raise SpecError(
                f"{to} cannot hold the label {label!r}: XML has no control characters, and readers strip "
                "space around names. Export to coco, csv or label-studio, or leave it out with --label"
            )
