"""Statistics of a run as small values that add up: batches, parts and shards merge in any order.

Everything kept is a count, an extreme or the smallest few of something, so `merge` is exact, commutative and
associative, and memory does not grow with the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from jobs.report.rows import NO_FRAME, Kind, RowBatch

NUM_SCORE_BINS = 20
SCORE_EDGES = tuple(i / NUM_SCORE_BINS for i in range(NUM_SCORE_BINS))
COUNT_EDGES = (*map(float, range(11)), 20.0, 50.0, 100.0)
SIDE_EDGES = (0.0, *(float(2**i) for i in range(3, 13)))
MAX_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over half-open bins.

    Attributes:
        edges: lower edge of each bin, ascending. Bin `i` is [edges[i], edges[i + 1]); the last is open above,
            and values below the first edge count in the first bin, so no value is ever lost.
        counts: one for each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: npt.NDArray[Any], edges: tuple[float, ...]) -> Self:
        """Count `values`, any shape."""
        bins = np.searchsorted(np.asarray(edges), values.ravel(), side="right") - 1
        counts = np.bincount(np.maximum(bins, 0), minlength=len(edges))
        return cls(edges, tuple(counts.tolist()))

    @classmethod
    def empty(cls, edges: tuple[float, ...]) -> Self:
        return cls(edges, (0,) * len(edges))

    @property
    def total(self) -> int:
        return sum(self.counts)

    def merge(self, other: Histogram) -> Histogram:
        """Add bin by bin; raises ValueError for other edges."""
        if self.edges != other.edges:
            raise ValueError(f"histograms with other edges do not add: {self.edges} and {other.edges}")
        return Histogram(self.edges, tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)))


NO_SCORES = Histogram.empty(SCORE_EDGES)
NO_COUNTS = Histogram.empty(COUNT_EDGES)
NO_SIDES = Histogram.empty(SIDE_EDGES)


@dataclass(frozen=True, slots=True)
class LabelStatistics:
    """What was found under one label.

    Attributes:
        label_id: the model's index of it (the smallest, should rows disagree).
        num_images: rows with at least one detection of it.
        scores: of its detections; the total is their number.
    """

    label_id: int
    num_images: int
    scores: Histogram

    @property
    def num_detections(self) -> int:
        return self.scores.total

    def merge(self, other: LabelStatistics) -> LabelStatistics:
        return LabelStatistics(
            min(self.label_id, other.label_id),
            self.num_images + other.num_images,
            self.scores.merge(other.scores),
        )


class FailureExample(NamedTuple):
    """One input that failed, and what was said about it."""

    uri: str
    frame_index: int
    message: str


@dataclass(frozen=True, slots=True)
class FailureStatistics:
    """Inputs that failed for one reason; `examples` are the first `MAX_EXAMPLES` by location."""

    count: int
    examples: tuple[FailureExample, ...]

    def merge(self, other: FailureStatistics) -> FailureStatistics:
        examples = tuple(sorted((*self.examples, *other.examples))[:MAX_EXAMPLES])
        return FailureStatistics(self.count + other.count, examples)


@dataclass(frozen=True, slots=True)
class Extent:
    """Smallest and largest width and height, pixels."""

    min_width: int
    max_width: int
    min_height: int
    max_height: int

    def merge(self, other: Extent) -> Extent:
        return Extent(
            min(self.min_width, other.min_width),
            max(self.max_width, other.max_width),
            min(self.min_height, other.min_height),
            max(self.max_height, other.max_height),
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a set of rows amounts to; `Statistics()` is that of no rows.

    Attributes:
        num_inputs, num_ok: rows, and those with status `ok`.
        num_frames: rows that are frames of videos.
        labels: by label.
        detections_per_image: over rows with status `ok`.
        box_sides_px: of the square root of each box's area, pixels of the source image.
        image_sides_px: of the longer side of every image whose size is known.
        extent: of the same images; None when there are none.
        failures: by status and error code (empty where there is no code).
        kind: what a detection stands for, see `RowBatch`.
    """

    num_inputs: int = 0
    num_ok: int = 0
    labels: Mapping[str, LabelStatistics] = field(default_factory=dict)
    detections_per_image: Histogram = NO_COUNTS
    box_sides_px: Histogram = NO_SIDES
    image_sides_px: Histogram = NO_SIDES
    extent: Extent | None = None
    failures: Mapping[tuple[str, str], FailureStatistics] = field(default_factory=dict)
    num_frames: int = 0
    kind: Kind = "detections"

    @property
    def num_failed(self) -> int:
        return self.num_inputs - self.num_ok

    @property
    def has_boxes(self) -> bool:
        """Whether what was found has boxes."""
        return self.kind in ("detections", "proposals")

    @property
    def num_detections(self) -> int:
        return self.box_sides_px.total

    @property
    def scores(self) -> Histogram:
        """Of all detections."""
        return reduce(Histogram.merge, (label.scores for label in self.labels.values()), NO_SCORES)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both sets of rows together."""
        extents = [extent for extent in (self.extent, other.extent) if extent is not None]
        return Statistics(
            self.num_inputs + other.num_inputs,
            self.num_ok + other.num_ok,
            _merge_maps(self.labels, other.labels),
            self.detections_per_image.merge(other.detections_per_image),
            self.box_sides_px.merge(other.box_sides_px),
            self.image_sides_px.merge(other.image_sides_px),
            reduce(Extent.merge, extents) if extents else None,
            _merge_maps(self.failures, other.failures),
            self.num_frames + other.num_frames,
            other.kind if self.kind == "detections" else self.kind,
        )


def measure(batch: RowBatch) -> Statistics:
    """The statistics of one batch of rows."""
    known = (batch.widths > 0) & (batch.heights > 0)
    widths, heights = batch.widths[known], batch.heights[known]
    sides = np.maximum(batch.boxes[:, 2:] - batch.boxes[:, :2], 0.0).astype(np.float64)
    return Statistics(
        num_inputs=len(batch),
        num_ok=int(batch.ok.sum()),
        labels=_measure_labels(batch),
        detections_per_image=Histogram.of(batch.detections_per_row()[batch.ok], COUNT_EDGES),
        box_sides_px=Histogram.of(np.sqrt(sides[:, 0] * sides[:, 1]), SIDE_EDGES),
        image_sides_px=Histogram.of(np.maximum(widths, heights), SIDE_EDGES),
        extent=_extent(widths, heights) if known.any() else None,
        failures=_measure_failures(batch),
        num_frames=int((batch.frames != NO_FRAME).sum()),
        kind=batch.kind,
    )


def _extent(widths: npt.NDArray[np.int64], heights: npt.NDArray[np.int64]) -> Extent:
    return Extent(int(widths.min()), int(widths.max()), int(heights.min()), int(heights.max()))


def _measure_labels(batch: RowBatch) -> dict[str, LabelStatistics]:
    found = {}
    for index, label in enumerate(batch.labels):
        chosen = batch.label_index == index
        if not chosen.any():
            continue
        found[label] = LabelStatistics(
            int(batch.label_ids[chosen].min()),
            int(np.unique(batch.owner[chosen]).size),
            Histogram.of(batch.scores[chosen], SCORE_EDGES),
        )
    return found


def _measure_failures(batch: RowBatch) -> dict[tuple[str, str], FailureStatistics]:
    found: dict[tuple[str, str], FailureStatistics] = {}
    for row in np.flatnonzero(~batch.ok).tolist():
        example = FailureExample(batch.uris[row], int(batch.frames[row]), batch.errors[row])
        one = FailureStatistics(1, (example,))
        reason = (batch.statuses[row], batch.error_codes[row])
        found[reason] = found[reason].merge(one) if reason in found else one
    return found


def _merge_maps(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> dict[Any, Any]:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = merged[key].merge(value) if key in merged else value
    return merged
