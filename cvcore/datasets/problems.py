"""What is wrong with a dataset: each kind counted, with a few examples and what was done about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from cvcore.errors import SpecError

MAX_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: what it says, what is done, and whether it may be as it should be."""

    text: str
    done: str
    harmless: bool = False


KINDS: dict[str, Kind] = {
    "malformed": Kind("entries that cannot be read", "left out"),
    "name_outside": Kind("names that lead out of the dataset's folder", "left out"),
    "image_missing": Kind("images that are not there", "left out, with their boxes"),
    "image_unreadable": Kind("images that cannot be decoded", "left out, with their boxes"),
    "image_size_differs": Kind("images of another size than stated", "the file's size counts, boxes stay"),
    "image_duplicate_name": Kind("images listed more than once", "taken once, with the boxes of all"),
    "image_duplicate_id": Kind("image ids used more than once", "the first one is kept"),
    "image_in_two_splits": Kind("images in more than one split", "left as they are"),
    "annotation_missing": Kind("images without an annotation file", "left out"),
    "annotation_without_image": Kind("annotations of no image", "left out"),
    "annotation_duplicate_id": Kind("annotation ids used more than once", "numbered anew when written"),
    "label_without_image": Kind("label files without an image", "left out"),
    "class_unknown": Kind("boxes of a class that is not listed", "left out"),
    "class_unused": Kind("classes without a box", "kept", harmless=True),
    "box_outside": Kind("boxes that reach out of their image", "clipped"),
    "box_without_area": Kind("boxes without area inside of their image", "left out"),
    "box_duplicate": Kind("boxes that another of the same class equals", "taken once"),
    "mask_missing": Kind("listed images without a mask", "left out"),
    "mask_unreadable": Kind("masks that cannot be read", "left out, with their images"),
    "mask_size_differs": Kind("masks of another size than their image", "left out, with their images"),
    "mask_class_unknown": Kind("masks with pixels of a class that is not listed", "not judged there"),
    "mask_without_objects": Kind("masks of nothing but background", "kept", harmless=True),
    "image_without_boxes": Kind("images without boxes", "kept, as background", harmless=True),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind, as often as it was found."""

    kind: str
    count: int
    examples: tuple[str, ...]

    @property
    def text(self) -> str:
        return KINDS[self.kind].text

    @property
    def done(self) -> str:
        return KINDS[self.kind].done

    @property
    def harmless(self) -> bool:
        return KINDS[self.kind].harmless


@dataclass(frozen=True, slots=True)
class Problems:
    """All that was found, in the order of `KINDS`."""

    found: tuple[Problem, ...] = ()

    def count(self, kind: str) -> int:
        return next((each.count for each in self.found if each.kind == kind), 0)

    @property
    def serious(self) -> tuple[Problem, ...]:
        """Those that no correct dataset has."""
        return tuple(each for each in self.found if not each.harmless)

    def refuse(self, name: str) -> None:
        """Raises `SpecError` if there is a serious problem."""
        if self.serious:
            lines = [f"{each.count:,} {each.text}, as {each.examples[0]}" for each in self.serious]
            raise SpecError(
                f"{name}: " + "; ".join(lines) + ". Correct them, or read it without strict, which leaves "
                "them out"
            )


class ProblemLog:
    """Counts problems as they are found, by any thread; the first few of each kind are kept as examples."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter()
        self._examples: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, kind: str, example: str, *, count: int = 1) -> None:
        """Note a problem of a kind in `KINDS`; the example says where, and what it is."""
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        with self._lock:
            self._counts[kind] += count
            if len(self._examples[kind]) < MAX_EXAMPLES:
                self._examples[kind].append(example[:300])

    def problems(self) -> Problems:
        kinds = (kind for kind in KINDS if self._counts[kind])
        return Problems(
            tuple(Problem(kind, self._counts[kind], tuple(self._examples[kind])) for kind in kinds)
        )


def merge_problems(reports: Iterable[Problems]) -> Problems:
    """Of several splits: counts are added up."""
    log = ProblemLog()
    for report in reports:
        for each in report.found:
            for example in each.examples:
                log.add(each.kind, example, count=0)
            log.add(each.kind, each.examples[0], count=each.count)
    return log.problems()
