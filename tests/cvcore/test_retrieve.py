"""Vector indexes against exact search, and embeddings that do not depend on the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cvcore.anomaly.memory_bank import PatchCore
from cvcore.autoencode.conv import ConvAutoencoder
from cvcore.detect.yolo import build_tiny
from cvcore.errors import ModelError, SpecError
from cvcore.metrics.retrieval import evaluate_ranking
from cvcore.retrieve import vectors as module
from cvcore.retrieve.embed import embed, embedding_size_of
from cvcore.retrieve.vectors import VectorIndex, normalized


def clusters(count: int, size: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(40, size))
    return (centers[rng.integers(0, 40, count)] + 0.4 * rng.normal(size=(count, size))).astype(np.float32)


def exact(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(normalized(queries) @ normalized(vectors).T), axis=1, kind="stable")[:, :k]


def test_a_small_index_is_exact_and_survives_the_trip_to_bytes() -> None:
    vectors, queries = clusters(500, 12), clusters(20, 12, seed=1)
    index = VectorIndex.from_bytes(VectorIndex.build(vectors).to_bytes())
    similarities, positions = index.search(queries, 7)
    assert index.is_exact
    assert len(index) == 500
    assert np.array_equal(positions, exact(vectors, queries, 7))
    cosines = (normalized(queries)[:, None] * normalized(vectors)[positions]).sum(axis=2)
    assert similarities == pytest.approx(cosines, abs=1e-5)
    assert index.vectors() == pytest.approx(normalized(vectors))


@pytest.mark.parametrize("size", [12, 7])
def test_a_large_index_finds_nearly_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLAT_BELOW", 2000)
    vectors, queries = clusters(6000, size), clusters(50, size, seed=1)
    index = VectorIndex.from_bytes(VectorIndex.build(vectors).to_bytes())
    assert not index.is_exact
    _, positions = index.search(queries, 10)
    wanted = exact(vectors, queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(positions, wanted, strict=True)])
    assert recall > 0.9
    assert index.vectors() == pytest.approx(normalized(vectors), abs=2e-3)


def test_more_answers_than_vectors_leave_places_empty() -> None:
    _, positions = VectorIndex.build(clusters(3, 4)).search(clusters(1, 4, seed=2), 5)
    assert sorted(positions[0].tolist()) == [-1, -1, 0, 1, 2]


def test_vectors_that_are_not_finite_and_bytes_that_are_no_index() -> None:
    with pytest.raises(ValueError, match="NaN"):
        VectorIndex.build(np.array([[1.0, np.nan]]))
    with pytest.raises(SpecError, match="no index"):
        VectorIndex.from_bytes(b"nonsense that is long enough to have a header")


@pytest.mark.parametrize("kind", ["autoencoder", "patchcore"])
def test_an_image_has_the_same_embedding_in_any_batch(kind: str) -> None:
    torch.manual_seed(0)
    model = (
        ConvAutoencoder(input_size=32, width=4, depth=2, latent_size=6)
        if kind == "autoencoder"
        else PatchCore(input_size=64, memory_size=5)
    ).eval()
    side = model.input_spec.height
    canvases = torch.randint(0, 256, (5, side, side, 3), dtype=torch.uint8)
    together = embed(model, canvases)
    assert together.shape == (5, embedding_size_of(model))
    alone = torch.cat([embed(model, one[None]) for one in canvases])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5)


def test_a_detector_gives_no_embeddings() -> None:
    model = build_tiny(("a",), width=4, input_size=64)
    assert embedding_size_of(model) is None
    with pytest.raises(ModelError, match="no embeddings"):
        embed(model, torch.zeros(1, 64, 64, 3, dtype=torch.uint8))


def test_ranking_metrics_are_their_definitions() -> None:
    relevant = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]], bool)
    found = evaluate_ranking(relevant, 2)
    assert found.num_queries == 2
    assert found.precision == pytest.approx((1 / 2 + 0) / 2)
    assert found.recall == pytest.approx((1 / 2 + 0) / 2)
    assert found.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 / 4) / 2)


def test_average_precision_equals_scikit_learns() -> None:
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    relevant = rng.random((20, 50)) < 0.2
    relevant[:, 0] |= ~relevant.any(axis=1)
    expected = [average_precision_score(row, -np.arange(50)) for row in relevant]
    assert evaluate_ranking(relevant, 5).mean_average_precision == pytest.approx(np.mean(expected))
    with pytest.raises(ValueError, match="anything to find"):
        evaluate_ranking(np.zeros((2, 3), bool), 1)
