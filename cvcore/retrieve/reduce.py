"""Vectors as places on a map: the two directions of greatest variance, or UMAP where it is installed."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cvcore.errors import SpecError

Method = Literal["pca", "umap"]
METHODS: tuple[Method, ...] = ("pca", "umap")
Floats = npt.NDArray[np.float64]


def reduce_vectors(
    vectors: npt.NDArray[Any], method: Method, *, seed: int = 0
) -> tuple[Floats, float | None]:
    """Places, (N, 2), of (N, D) vectors, and for PCA the share of the variance that they show.

    Raises:
        SpecError: for fewer than three vectors, or UMAP (McInnes et al. 2018) where it is not installed.
    """
    values = np.asarray(vectors, np.float64)
    if len(values) < 3:
        raise SpecError(f"{len(values)} vectors are too few for a map: give at least 3")
    if method == "umap":
        return _umap(values, seed), None
    centered = values - values.mean(axis=0)
    _, spread, directions = np.linalg.svd(centered, full_matrices=False)
    count = min(2, len(directions))
    # Signs are arbitrary: the largest part of each direction is made positive, so that maps do not flip.
    signs = np.sign(directions[np.arange(count), np.abs(directions[:count]).argmax(axis=1)])
    places = np.zeros((len(values), 2))
    places[:, :count] = centered @ (directions[:count] * signs[:, None]).T
    total = float((spread**2).sum())
    return places, float((spread[:2] ** 2).sum() / total) if total else 1.0


def _umap(values: Floats, seed: int) -> Floats:
    try:
        import umap
    except ImportError as error:
        raise SpecError("UMAP is not installed: pip install umap-learn, or use --method pca") from error
    neighbors = min(15, len(values) - 1)
    found: Floats = umap.UMAP(n_components=2, n_neighbors=neighbors, random_state=seed).fit_transform(values)
    return found.astype(np.float64)
