"""Indexes of unit vectors: exact for small sets, inverted lists of product codes for large ones.

Similarities are cosines: vectors are divided by their norm, and inner products compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError

Vectors = npt.NDArray[np.float32]
FLAT_BELOW = 100_000
"""Smaller sets are compared one by one, exactly."""
LISTS_PER_ROOT = 4
"""An inverted file has so many lists times the root of its size (FAISS's guide to the choice of an index)."""
TRAIN_PER_LIST = 64
PROBED = 32
"""Lists that a search looks into."""
REFINED = 8
"""A search ranks so many times `k` by codes, and then by nearly exact vectors."""
CODE_SIZES = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)


def normalized(vectors: npt.NDArray[Any]) -> Vectors:
    """(N, D) divided by their norms, float32; a vector of zeros stays.

    Raises:
        ValueError: for vectors that are not finite.
    """
    values = np.ascontiguousarray(vectors, np.float32)
    if not np.isfinite(values).all():
        raise ValueError("vectors hold NaN or infinity: leave failed inputs out")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    found: Vectors = values / np.maximum(norms, np.finfo(np.float32).tiny)
    return found


@dataclass(frozen=True)
class VectorIndex:
    """Vectors that can be searched; positions number them in the order in which they were given."""

    index: faiss.Index

    @classmethod
    def build(cls, vectors: npt.NDArray[Any], *, seed: int = 0) -> VectorIndex:
        """Of (N, D) vectors: flat below 100,000 of them, else IVF-PQ (Jégou et al. 2011, Product Quantization
        for Nearest Neighbor Search) with a refinement by half-precision vectors.
        """
        values = normalized(vectors)
        count, size = values.shape
        if count < FLAT_BELOW:
            index: faiss.Index = faiss.IndexFlatIP(size)
            index.add(values)
            return cls(index)
        lists = int(LISTS_PER_ROOT * count**0.5)
        code = next(each for each in CODE_SIZES if size % each == 0 and each <= max(1, size // 2))
        index = faiss.index_factory(size, f"IVF{lists},PQ{code}x8,Refine(SQfp16)", faiss.METRIC_INNER_PRODUCT)
        rng = np.random.default_rng(seed)
        chosen = rng.choice(count, min(count, max(lists, 256) * TRAIN_PER_LIST), replace=False)
        index.train(values[np.sort(chosen)])
        index.add(values)
        return cls(index)

    @classmethod
    def from_bytes(cls, body: bytes) -> VectorIndex:
        """The inverse of `to_bytes`.

        Raises:
            SpecError: for anything else.
        """
        try:
            return cls(faiss.deserialize_index(np.frombuffer(body, np.uint8)))
        except RuntimeError as error:
            raise SpecError(
                f"this is no index of vectors, or a damaged one: build it again ({error})"
            ) from error

    def to_bytes(self) -> bytes:
        found: bytes = faiss.serialize_index(self.index).tobytes()
        return found

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def vectors(self) -> Vectors:
        """All vectors, (N, D), normalised; of a large index, to half precision."""
        index: Any = faiss.downcast_index(self.index)
        exact = index if self.is_exact else faiss.downcast_index(index.refine_index)
        found: Vectors = exact.reconstruct_n(0, len(self))
        return found

    @property
    def is_exact(self) -> bool:
        return isinstance(faiss.downcast_index(self.index), faiss.IndexFlat)

    def search(self, queries: npt.NDArray[Any], k: int) -> tuple[Vectors, npt.NDArray[np.int64]]:
        """The `k` most similar of each query, (Q, D): similarities and positions, (Q, k), best first.

        Where there are fewer, positions are -1.
        """
        values = normalized(queries)
        if self.is_exact:
            similarities, positions = self.index.search(values, k)
            return similarities, positions
        inner: Any = faiss.SearchParametersIVF()
        inner.nprobe = PROBED
        options: Any = faiss.IndexRefineSearchParameters()
        options.k_factor, options.base_index_params = REFINED, inner
        similarities, positions = self.index.search(values, k, params=options)
        return similarities, positions
