"""An index's items against each other: how well neighbours belong together, and which are nearly the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cvcore.errors import SpecError
from cvcore.metrics.retrieval import RetrievalMetrics, evaluate_ranking
from jobs.index import Index
from jobs.storage import base_name

MAX_EVALUATED = 20_000
"""Items beyond which whole rankings are not compared: their number is the square."""
QUERIES_AT_ONCE = 256


def evaluate_index(index: Index, k: int) -> RetrievalMetrics:
    """Each item as a query among all others: what lies in a folder of the same name is relevant.

    Raises:
        SpecError: for more items than can be ranked against each other, or folders of one item each.
    """
    if len(index) > MAX_EVALUATED:
        raise SpecError(f"{len(index):,} items are too many to rank all against all: index a sample of them")
    vectors, uris = index.all_vectors()
    labels = np.array([base_name(uri.rpartition("/")[0]) for uri in uris])
    relevant = []
    for first in range(0, len(vectors), QUERIES_AT_ONCE):
        similarities = vectors[first : first + QUERIES_AT_ONCE] @ vectors.T
        for row, scores in enumerate(similarities, first):
            scores[row] = np.inf  # the query itself, which is taken out
            order = np.argsort(-scores, kind="stable")[1:]
            relevant.append(labels[order] == labels[row])
    try:
        return evaluate_ranking(np.array(relevant), k)
    except ValueError as error:
        raise SpecError(str(error)) from error


@dataclass(frozen=True)
class Pair:
    """Two items that look alike."""

    first: str
    second: str
    similarity: float


def find_duplicates(index: Index, above: float, *, neighbors: int = 10) -> list[Pair]:
    """Pairs whose similarity is at least `above`, best first; of each item, its nearest are looked at."""
    vectors, uris = index.all_vectors()
    found: dict[tuple[str, str], float] = {}
    for first in range(0, len(vectors), QUERIES_AT_ONCE):
        answers = index.search(vectors[first : first + QUERIES_AT_ONCE], neighbors + 1)
        for row, hits in enumerate(answers, first):
            for hit in hits:
                if hit.uri != uris[row] and hit.similarity >= above:
                    key = (min(uris[row], hit.uri), max(uris[row], hit.uri))
                    found[key] = max(found.get(key, -1.0), hit.similarity)
    pairs = [Pair(*key, similarity) for key, similarity in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))
