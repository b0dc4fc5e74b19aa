"""Maps of vectors: scikit-learn's principal components, whatever the sign."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cvcore.errors import SpecError
from cvcore.retrieve.reduce import reduce_vectors


def test_pca_equals_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6))
    places, explained = reduce_vectors(vectors, "pca")
    reference = PCA(2).fit(vectors)
    assert explained == pytest.approx(reference.explained_variance_ratio_.sum())
    assert np.abs(places) == pytest.approx(np.abs(reference.transform(vectors)))
    assert reduce_vectors(vectors[::-1], "pca")[0][::-1] == pytest.approx(places)


def test_a_line_and_copies_have_maps() -> None:
    places, explained = reduce_vectors(np.arange(5.0)[:, None], "pca")
    assert np.ptp(places[:, 0]) == pytest.approx(4)
    assert (places[:, 1] == 0).all()
    assert explained == pytest.approx(1)
    assert reduce_vectors(np.ones((4, 3)), "pca")[1] == 1


def test_too_few_vectors_and_what_is_not_installed() -> None:
    with pytest.raises(SpecError, match="too few"):
        reduce_vectors(np.zeros((2, 3)), "pca")
    with pytest.raises(SpecError, match="pip install umap-learn"):
        reduce_vectors(np.zeros((9, 3)), "umap")
