"""Scores of latent vectors by how far they lie from those of normal images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cvcore.errors import TooFewNormalsError

CHUNK = 1024
MIN_SHRINKAGE = 1e-9
"""Two vectors span a line, and no shrinkage at all would be found best for it."""


@dataclass(frozen=True, slots=True)
class Mahalanobis:
    """A normal distribution's mean and precision, and distances under them (Mahalanobis 1936).

    Attributes:
        mean: (D,).
        precision: (D, D), the inverse of the shrunk covariance.
        shrinkage: from 0 to 1, how much of the covariance was replaced by a multiple of the identity.
    """

    mean: Tensor
    precision: Tensor
    shrinkage: float

    @classmethod
    def fit(cls, vectors: Tensor) -> Mahalanobis:
        """Of normal vectors, (N, D), with the covariance shrunk as Ledoit and Wolf 2004 (A Well-Conditioned
        Estimator for Large-Dimensional Covariance Matrices) find best: it is invertible also where N < D.

        Raises:
            TooFewNormalsError: for fewer than two vectors, or vectors that are all alike.
        """
        _check_normals(vectors, at_least=2)
        values = vectors.double()
        count, size = values.shape
        mean = values.mean(dim=0)
        centered = values - mean
        covariance = centered.T @ centered / count
        scale = covariance.trace() / size
        if scale <= 0:
            raise TooFewNormalsError(
                f"all {count} normal images have the same latent vector: give images that differ"
            )
        identity = torch.eye(size, dtype=values.dtype, device=values.device)
        spread = (covariance - scale * identity).square().sum()
        # The mean squared distance of one sample's outer product from the covariance, without the products.
        noise = (centered.square().sum(dim=1).square().mean() - covariance.square().sum()) / count
        shrinkage = 1.0 if spread <= 0 else float(torch.clamp(noise / spread, MIN_SHRINKAGE, 1.0))
        shrunk = (1 - shrinkage) * covariance + shrinkage * scale * identity
        return cls(mean.float(), torch.linalg.inv(shrunk).float(), shrinkage)

    def score(self, vectors: Tensor) -> Tensor:
        """Distances of vectors, (N, D), from the mean, (N,)."""
        centered = vectors - self.mean
        return ((centered @ self.precision) * centered).sum(dim=1).clamp(min=0).sqrt()


@dataclass(frozen=True, slots=True)
class NearestNeighbors:
    """Normal vectors, (N, D), and the mean distance to the `k` nearest of them (Ramaswamy et al. 2000)."""

    vectors: Tensor
    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")
        _check_normals(self.vectors, at_least=self.k)

    def score(self, vectors: Tensor) -> Tensor:
        """Mean Euclidean distances of vectors, (M, D), to their nearest neighbours, (M,)."""
        parts = [
            distances(part, self.vectors).topk(self.k, dim=1, largest=False).values.mean(dim=1)
            for part in torch.split(vectors, CHUNK)
        ]
        return torch.cat(parts) if parts else vectors.new_zeros(0)


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distances between the rows of (N, D) and (M, D), (N, M)."""
    return torch.cdist(first, second, compute_mode="use_mm_for_euclid_dist_if_necessary")


def _check_normals(vectors: Tensor, *, at_least: int) -> None:
    if vectors.dim() != 2:
        raise ValueError(f"vectors must be (N, D), got {tuple(vectors.shape)}")
    if len(vectors) < at_least:
        raise TooFewNormalsError(
            f"{len(vectors)} normal images are too few: this score needs at least {at_least}"
        )
    if not torch.isfinite(vectors).all():
        raise ValueError("vectors of normal images hold NaN or infinity")
