"""Latent scores against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors as Reference

from cvcore.anomaly.latent import Mahalanobis, NearestNeighbors
from cvcore.errors import TooFewNormalsError


def vectors(count: int, size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(size, size, generator=generator)
    return torch.randn(count, size, generator=generator) @ mix + 3


@pytest.mark.parametrize(("count", "size"), [(500, 8), (12, 30), (40, 40)])
def test_mahalanobis_is_that_of_ledoit_and_wolf(count: int, size: int) -> None:
    normals, others = vectors(count, size), vectors(50, size, seed=1)
    ours, theirs = Mahalanobis.fit(normals), LedoitWolf().fit(normals.double().numpy())
    assert ours.shrinkage == pytest.approx(theirs.shrinkage_, abs=1e-9)
    expected = np.sqrt(theirs.mahalanobis(others.double().numpy()))
    np.testing.assert_allclose(ours.score(others).numpy(), expected, rtol=2e-3)


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_are_those_of_scikit_learn(k: int) -> None:
    normals, others = vectors(300, 16), vectors(2100, 16, seed=1)
    reference = Reference(n_neighbors=k).fit(normals.numpy())
    expected = reference.kneighbors(others.numpy())[0].mean(axis=1)
    np.testing.assert_allclose(NearestNeighbors(normals, k).score(others).numpy(), expected, rtol=1e-3)


def test_what_is_far_scores_higher() -> None:
    normals = vectors(200, 6)
    far = vectors(50, 6, seed=2) + 40
    for scorer in (Mahalanobis.fit(normals), NearestNeighbors(normals)):
        assert scorer.score(far).min() > scorer.score(normals).max()
    assert torch.isfinite(Mahalanobis.fit(vectors(2, 3)).score(far[:, :3])).all()


def test_too_few_or_equal_normals_are_refused() -> None:
    with pytest.raises(TooFewNormalsError, match="1 normal images are too few"):
        Mahalanobis.fit(vectors(1, 4))
    with pytest.raises(TooFewNormalsError, match="same latent vector"):
        Mahalanobis.fit(torch.ones(5, 4))
    with pytest.raises(TooFewNormalsError, match="at least 5"):
        NearestNeighbors(vectors(4, 4))
    with pytest.raises(ValueError, match="NaN"):
        Mahalanobis.fit(torch.full((5, 4), float("nan")))
