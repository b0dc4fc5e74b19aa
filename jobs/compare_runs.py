"""`veedor compare RUN RUN`: where two runs over the same images differ."""

from __future__ import annotations

import contextlib
import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cvcore.errors import SpecError, did_you_mean
from jobs.agreement import MIN_IOU, ImagePair, compare_found, sureness
from jobs.export.rows import Choice, Found
from jobs.paired import IndexedRun, PairedImage, Unpaired, index_run, pair_images
from jobs.report.statistics import Histogram
from jobs.run_folder import RunFolder
from jobs.storage import Access, open_store, resolve_location

Kind = Literal["only_one", "only_other", "other_label", "score", "place"]
KINDS: tuple[Kind, ...] = ("only_one", "only_other", "other_label", "score", "place")
EXAMPLES = 10
SHARE_EDGES = tuple(k / 20 for k in range(20))
CHANGE_EDGES = tuple(k / 20 for k in range(-20, 20))


@dataclass(frozen=True, slots=True)
class Options:
    """What is compared.

    Attributes:
        choice: of the detections of both runs.
        min_iou: of boxes that may be of one object.
        partial: whether runs that are not finished are compared.

    Raises:
        SpecError: for an overlap that no two boxes have.
    """

    choice: Choice = field(default_factory=Choice)
    min_iou: float = MIN_IOU
    partial: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.min_iou <= 1:
            raise SpecError(f"boxes overlap by an IoU from above 0 to 1, not {self.min_iou}")


@dataclass(slots=True)
class LabelAgreement:
    """What two runs found under a label of the one; what only the other found, under its own.

    `iou` and `change` are sums over `same`: of overlaps, and of scores' differences without their sign.
    """

    one: int = 0
    other: int = 0
    same: int = 0
    other_label: int = 0
    only_one: int = 0
    only_other: int = 0
    iou: float = 0.0
    change: float = 0.0

    @property
    def num(self) -> int:
        """Detections of both runs."""
        return self.one + self.other


@dataclass(frozen=True, slots=True)
class Example:
    """One difference: `weight` is how far apart the runs are, by which the greatest are kept."""

    kind: Kind
    weight: float
    image: dict[str, Any]
    one: Found | None
    other: Found | None
    iou: float | None = None


@dataclass(slots=True)
class RunComparison:
    """Everything that two runs are told apart by.

    Attributes:
        one, other: locations of the runs.
        models: of both.
        min_iou: of boxes that were taken for one object.
        num_images: that both looked at; in `num_alike` nothing is only in one, and no label differs.
        only_in: images that one run alone has.
        failed: images that one run alone could not look at.
        changed: of which the runs saw different versions; they are not compared.
        labels: by label, those with the most detections first.
        swaps: how often a label of the one is another label of the other.
        ious, changes: counts of the bins of `iou_histogram` and `change_histogram`.
        examples: the greatest differences of each kind.
    """

    one: str
    other: str
    models: tuple[str, str]
    min_iou: float
    num_images: int = 0
    num_alike: int = 0
    only_in: Unpaired = field(default_factory=Unpaired)
    failed: Unpaired = field(default_factory=Unpaired)
    changed: int = 0
    labels: dict[str, LabelAgreement] = field(default_factory=dict)
    swaps: Counter[tuple[str, str]] = field(default_factory=Counter)
    ious: Counter[int] = field(default_factory=Counter)
    changes: Counter[int] = field(default_factory=Counter)
    examples: dict[Kind, list[Example]] = field(default_factory=dict)

    @property
    def total(self) -> LabelAgreement:
        """Over all labels."""
        names = LabelAgreement.__slots__
        return LabelAgreement(
            **{name: sum(getattr(each, name) for each in self.labels.values()) for name in names}
        )

    @property
    def iou_histogram(self) -> Histogram:
        """Overlaps of objects that both found under one label."""
        return Histogram(SHARE_EDGES, tuple(self.ious[k] for k in range(len(SHARE_EDGES))))

    @property
    def change_histogram(self) -> Histogram:
        """How much higher the other run scored those, -1 to 1."""
        return Histogram(CHANGE_EDGES, tuple(self.changes[k] for k in range(len(CHANGE_EDGES))))

    @property
    def agreement(self) -> float:
        """Share of all objects that both found under one label; NaN where nothing was found."""
        total = self.total
        objects = total.same + total.other_label + total.only_one + total.only_other
        return total.same / objects if objects else float("nan")


def is_run(location: str, access: Access) -> bool:
    """Whether there is a run's record in a folder."""
    uri = resolve_location(location).rstrip("/")
    return open_store(uri, access).exists(RunFolder(uri).job)


@contextlib.contextmanager
def open_runs(
    one: str, other: str, *, access: Access, partial: bool = False
) -> Iterator[tuple[IndexedRun, IndexedRun]]:
    """Index both runs, until the block ends; raises what `index_run` raises."""
    if resolve_location(one).rstrip("/") == resolve_location(other).rstrip("/"):
        raise SpecError(f"{one} is named twice: a run does not differ from itself")
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(index_run(uri, access=access, partial=partial)) for uri in (one, other)
        )
        yield first, second


def compare_runs(one: IndexedRun, other: IndexedRun, options: Options | None = None) -> RunComparison:
    """Compare two runs image by image. Memory does not grow with them.

    Raises:
        SpecError: if they have no image in common, or neither has a label that is asked for.
    """
    options = options or Options()
    _check_labels(options.choice.labels, one, other)
    found = RunComparison(
        one.run.uri, other.run.uri, (one.facts.model_version, other.facts.model_version), options.min_iou
    )
    shelves = {kind: _Shelf() for kind in KINDS}
    for image in pair_images(one, other, choice=options.choice, unpaired=found.only_in):
        _count(image, found, shelves)
    most = sorted(found.labels, key=lambda label: (-found.labels[label].num, label))
    found.labels = {label: found.labels[label] for label in most}
    found.examples = {kind: shelf.examples() for kind, shelf in shelves.items()}
    return found


def _check_labels(labels: Sequence[str], one: IndexedRun, other: IndexedRun) -> None:
    known = {*one.facts.labels, *other.facts.labels}
    for label in labels:
        if label not in known:
            raise SpecError(f"neither run has the label {label!r}.{did_you_mean(label, known)}")


def _count(image: PairedImage, found: RunComparison, shelves: dict[Kind, _Shelf]) -> None:
    if image.found_one is None or image.found_other is None:
        found.failed.one += image.found_other is not None
        found.failed.other += image.found_one is not None
        return
    if not image.is_same_version:
        found.changed += 1
        return
    pair = compare_found(image.found_one, image.found_other, min_iou=found.min_iou)
    found.num_images += 1
    found.num_alike += not pair.differs
    _count_labels(image, pair, found)
    for example in _examples(image, pair):
        shelves[example.kind].offer(example)


def _count_labels(image: PairedImage, pair: ImagePair, found: RunComparison) -> None:
    def of(each: Found) -> LabelAgreement:
        return found.labels.setdefault(each.label, LabelAgreement())

    for each in image.found_one or ():
        of(each).one += 1
    for each in image.found_other or ():
        of(each).other += 1
    for each in pair.only_one:
        of(each).only_one += 1
    for each in pair.only_other:
        of(each).only_other += 1
    for match in pair.matches:
        label = of(match.one)
        if match.same_label:
            label.same += 1
            label.iou += match.iou
            label.change += abs(match.score_change)
            found.ious[_bin(match.iou, SHARE_EDGES)] += 1
            found.changes[_bin(match.score_change, CHANGE_EDGES)] += 1
        else:
            label.other_label += 1
            found.swaps[match.one.label, match.other.label] += 1


def _bin(value: float, edges: Sequence[float]) -> int:
    return max(0, bisect_right(edges, value) - 1)


def _examples(image: PairedImage, pair: ImagePair) -> Iterator[Example]:
    yield from (Example("only_one", sureness(each), image.one, each, None) for each in pair.only_one)
    yield from (Example("only_other", sureness(each), image.one, None, each) for each in pair.only_other)
    for match in pair.matches:
        both = (image.one, match.one, match.other, match.iou)
        if not match.same_label:
            yield Example("other_label", match.disagreement, *both)
            continue
        if match.score_change:
            yield Example("score", abs(match.score_change), *both)
        if match.iou < 1:
            yield Example("place", 1 - match.iou, *both)


class _Shelf:
    """The examples with the greatest weights; of equal ones the first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Example]] = []
        self._num = 0

    def offer(self, example: Example) -> None:
        self._num += 1
        entry = (example.weight, -self._num, example)
        if len(self._heap) < EXAMPLES:
            heapq.heappush(self._heap, entry)
        elif entry[:2] > self._heap[0][:2]:
            heapq.heapreplace(self._heap, entry)

    def examples(self) -> list[Example]:
        return [example for _, _, example in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]
