"""Which of a run's images are worth a look: bounded, deterministic, and spread over labels.

A shelf keeps the best few candidates of each *group* (a label, or a reason of failure) and hands them out in
turns, so twelve pictures of one common label do not crowd out the rest. Candidates are small values; rows and
pixels are read only for those that were chosen.
"""

from __future__ import annotations

import bisect
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.report.rows import NO_FRAME, RowBatch

ShelfName = Literal["sample", "highest", "lowest", "uncertain", "empty", "failed"]


class Candidate(NamedTuple):
    """A row that a shelf may show; the natural order is by `rank`, then by location.

    Attributes:
        rank: smaller is chosen first.
        part, row: where it is read: the part's location, and the row's number in it.
        value: what the shelf measured (a score, an entropy; 0 for random choices).
    """

    rank: float
    uri: str
    frame: int
    part: str
    row: int
    value: float

    @property
    def spot(self) -> tuple[str, int]:
        """What a shelf shows once: an image, or of a video's neighbouring frames, which look alike, one."""
        return self.uri, self.frame if self.frame == NO_FRAME else self.frame // FRAMES_A_SPOT


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a batch offers a shelf: M rows, which may name a row once for each of its groups.

    Attributes:
        rows: (M,) int64.
        groups: (M,) int64 into `names`.
        names: of the groups.
        ranks, values: (M,) float64, as in `Candidate`.
    """

    rows: npt.NDArray[np.int64]
    groups: npt.NDArray[np.int64]
    names: list[str]
    ranks: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]


def binary_entropy(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Entropy in bits of a yes-or-no answer with these probabilities: 1 at 0.5, 0 at 0 and 1."""
    p = np.clip(scores, 1e-12, 1.0 - 1e-12)
    return -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))


def propose_highest(batch: RowBatch) -> Proposal:
    """Images by their best score, grouped by its label; higher first."""
    return _by_best_score(batch, sign=-1.0)


def propose_lowest(batch: RowBatch) -> Proposal:
    """Images by their best score, grouped by its label; lower first: something was seen, but barely."""
    return _by_best_score(batch, sign=1.0)


def propose_uncertain(batch: RowBatch) -> Proposal:
    """Images by the mean binary entropy of their scores, grouped by the least certain label."""
    entropy = binary_entropy(batch.scores)
    rows, starts, counts = np.unique(batch.owner, return_index=True, return_counts=True)
    worst = np.lexsort((-entropy, batch.owner))[starts]
    means = np.add.reduceat(entropy, starts) / counts if rows.size else np.empty(0)
    return Proposal(rows, batch.label_index[worst], batch.labels, -means, means)


def propose_sample(batch: RowBatch) -> Proposal:
    """A uniform choice among images of each label: candidates rank by a hash of their location."""
    width = max(1, len(batch.labels))
    pairs = np.unique(batch.owner * width + batch.label_index)
    rows = pairs // width
    return Proposal(rows, pairs % width, batch.labels, _hash_ranks(batch, rows), np.zeros(rows.size))


def propose_empty(batch: RowBatch) -> Proposal:
    """A uniform choice among images that were looked at and found empty."""
    rows = np.flatnonzero(batch.ok & (batch.detections_per_row() == 0))
    zeros = np.zeros(rows.size)
    return Proposal(rows, zeros.astype(np.int64), [""], _hash_ranks(batch, rows), zeros)


def propose_failed(batch: RowBatch) -> Proposal:
    """A uniform choice among failed inputs of each reason."""
    rows = np.flatnonzero(~batch.ok)
    reasons = [f"{batch.statuses[row]}/{batch.error_codes[row]}" for row in rows.tolist()]
    names = sorted(set(reasons))
    index = {name: i for i, name in enumerate(names)}
    groups = np.array([index[reason] for reason in reasons], dtype=np.int64)
    return Proposal(rows, groups, names, _hash_ranks(batch, rows), np.zeros(rows.size))


def _by_best_score(batch: RowBatch, *, sign: float) -> Proposal:
    rows, starts = np.unique(batch.owner, return_index=True)
    best = np.lexsort((-batch.scores, batch.owner))[starts]
    scores = batch.scores[best]
    return Proposal(rows, batch.label_index[best], batch.labels, sign * scores, scores)


def _hash_ranks(batch: RowBatch, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(M,) numbers in [0, 1), a hash of location and frame: random-looking, the same in every run."""
    distinct, inverse = np.unique(rows, return_inverse=True)
    ranks = np.empty(distinct.size)
    for i, row in enumerate(distinct.tolist()):
        digest = hashlib.blake2b(f"{batch.uris[row]}\0{batch.frames[row]}".encode(), digest_size=8).digest()
        ranks[i] = int.from_bytes(digest, "big") / 2**64
    return ranks[inverse]


PROPOSE: dict[ShelfName, Callable[[RowBatch], Proposal]] = {
    "sample": propose_sample,
    "highest": propose_highest,
    "lowest": propose_lowest,
    "uncertain": propose_uncertain,
    "empty": propose_empty,
    "failed": propose_failed,
}

DEFAULT_SIZES: dict[ShelfName, int] = {
    "sample": 48,
    "highest": 24,
    "lowest": 24,
    "uncertain": 24,
    "empty": 16,
    "failed": 24,
}
FRAMES_A_SPOT = 50


class Shelf:
    """One tab of the gallery in the making: of every group the best `size` candidates that look different.

    Memory is bounded by groups times `size`. What `choose` returns depends on the rows offered alone, not on
    their order or on how they were cut into batches.
    """

    def __init__(self, name: ShelfName, size: int) -> None:
        if size < 1:
            raise ValueError(f"a shelf holds at least 1 image, got {size}")
        self.name = name
        self.size = size
        self._groups: dict[str, list[Candidate]] = {}
        self._offered: Counter[str] = Counter()

    def offer(self, batch: RowBatch, *, part: str, first_row: int) -> None:
        """Consider the rows of `batch`, which starts at row `first_row` of `part`."""
        proposal = PROPOSE[self.name](batch)
        counts = np.bincount(proposal.groups, minlength=len(proposal.names))
        self._offered.update(dict(zip(proposal.names, counts.tolist(), strict=True)))
        limits = np.array([self._limit(name) for name in proposal.names])
        for i in np.flatnonzero(proposal.ranks <= limits[proposal.groups]).tolist():
            row = int(proposal.rows[i])
            self._keep(
                proposal.names[int(proposal.groups[i])],
                Candidate(
                    rank=float(proposal.ranks[i]),
                    uri=batch.uris[row],
                    frame=int(batch.frames[row]),
                    part=part,
                    row=first_row + row,
                    value=float(proposal.values[i]),
                ),
            )

    def merge(self, other: Shelf) -> None:
        """Take over what another shelf of the same name kept of other rows."""
        self._offered.update(other._offered)
        for group, candidates in other._groups.items():
            for candidate in candidates:
                self._keep(group, candidate)

    def choose(self) -> list[Candidate]:
        """At most `size` candidates, distinct in what they show, groups taking turns.

        In each turn the group whose next candidate ranks best goes first; for random choices, where ranks
        say nothing, the group that was offered most.
        """
        queues = {name: deque(kept) for name, kept in sorted(self._groups.items())}
        chosen: list[Candidate] = []
        seen: set[tuple[str, int]] = set()
        while queues and len(chosen) < self.size:
            for name in self._turn_order(queues):
                candidate = _next_unseen(queues[name], seen)
                if not queues[name]:
                    del queues[name]
                if candidate is not None and len(chosen) < self.size:
                    chosen.append(candidate)
                    seen.add(candidate.spot)
        return chosen if self._is_random else sorted(chosen)

    @property
    def _is_random(self) -> bool:
        return self.name in ("sample", "empty", "failed")

    def _turn_order(self, queues: dict[str, deque[Candidate]]) -> list[str]:
        if self._is_random:
            return sorted(queues, key=lambda name: (-self._offered[name], name))
        return sorted(queues, key=lambda name: queues[name][0])

    def _limit(self, group: str) -> float:
        kept = self._groups.get(group, [])
        return kept[-1].rank if len(kept) == self.size else float("inf")

    def _keep(self, group: str, candidate: Candidate) -> None:
        kept = self._groups.setdefault(group, [])
        same = next((one for one in kept if one.spot == candidate.spot), None)
        if same is not None:
            if same <= candidate:
                return
            kept.remove(same)
        bisect.insort(kept, candidate)
        del kept[self.size :]


def _next_unseen(queue: deque[Candidate], seen: set[tuple[str, int]]) -> Candidate | None:
    while queue:
        candidate = queue.popleft()
        if candidate.spot not in seen:
            return candidate
    return None


def make_shelves(sizes: dict[ShelfName, int]) -> list[Shelf]:
    """Empty shelves in the order of the page's tabs."""
    return [Shelf(name, sizes[name]) for name in PROPOSE if name in sizes]


def offer_all(shelves: Iterable[Shelf], batch: RowBatch, *, part: str, first_row: int) -> None:
    """Let every shelf consider the rows of a batch."""
    for shelf in shelves:
        shelf.offer(batch, part=part, first_row=first_row)
