"""Two runs over one image: which of their detections are of the same object, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jobs.export.rows import Found
from jobs.imports.match import iou_matrix

MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Match:
    """Two detections that are taken for one object; `iou` is that of their boxes."""

    one: Found
    other: Found
    iou: float

    @property
    def same_label(self) -> bool:
        return self.one.label == self.other.label

    @property
    def score_change(self) -> float:
        """The other's score less the one's; 0 where either has none."""
        if self.one.score is None or self.other.score is None:
            return 0.0
        return self.other.score - self.one.score

    @property
    def disagreement(self) -> float:
        """0 to 1: the greater score where labels differ, else how far the scores are apart."""
        return abs(self.score_change) if self.same_label else max(sureness(self.one), sureness(self.other))


@dataclass(frozen=True, slots=True)
class ImagePair:
    """What two runs found in an image: objects of both, and of one alone."""

    matches: tuple[Match, ...]
    only_one: tuple[Found, ...]
    only_other: tuple[Found, ...]

    @property
    def differs(self) -> bool:
        """Whether something is in one alone, or has another label."""
        return bool(self.only_one or self.only_other) or not all(each.same_label for each in self.matches)

    @property
    def disagreement(self) -> float:
        """0 to 1: of the object that they disagree about most; one that only one found counts its score.

        A committee of two, asked about what its members disagree on: Seung, Opper and Sompolinsky 1992.
        """
        alone = map(sureness, (*self.only_one, *self.only_other))
        return max((*alone, *(each.disagreement for each in self.matches)), default=0.0)


def sureness(found: Found) -> float:
    """A detection's score; what a person said is sure."""
    return 1.0 if found.score is None else found.score


def compare_found(one: Sequence[Found], other: Sequence[Found], *, min_iou: float = MIN_IOU) -> ImagePair:
    """Take detections for the same object by overlap, best first: those of one label, then the rest.

    Args:
        one, other: of the same image.
        min_iou: of boxes that may be of one object.
    """
    ious = iou_matrix([each.box for each in one], [each.box for each in other])
    candidates = [
        (one[a].label == other[b].label, float(ious[a, b]), -a, -b)
        for a, b in zip(*np.nonzero(ious >= min_iou), strict=True)
    ]
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, a, b in sorted(candidates, reverse=True):
        if -a not in pairs and -b not in taken:
            pairs[-a] = -b
            taken.add(-b)
    return ImagePair(
        tuple(Match(one[a], other[b], float(ious[a, b])) for a, b in sorted(pairs.items())),
        tuple(each for k, each in enumerate(one) if k not in pairs),
        tuple(each for k, each in enumerate(other) if k not in taken),
    )
