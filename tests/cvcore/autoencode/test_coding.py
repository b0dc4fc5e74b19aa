"""Codes of latent vectors: back to half a step, near their entropy, and refused where they are damaged."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.autoencode.coding import MAX_SYMBOL, Prior, decode_latent, encode_latent
from cvcore.errors import SpecError


def vectors(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.laplace(rng.normal(0, 3, size), np.exp(rng.normal(0, 1, size)), (count, size))


PRIOR = Prior.fit(vectors(2000))


@pytest.mark.parametrize("step", [0.02, 0.5, 3.0])
def test_a_vector_comes_back_to_half_a_step(step: float) -> None:
    for latent in vectors(20, seed=0)[:5]:
        found = decode_latent(encode_latent(latent, PRIOR, step=step, width=640, height=480), PRIOR)
        assert (found.width, found.height) == (640, 480)
        assert found.step == pytest.approx(step)
        assert np.abs(found.latent - latent).max() <= PRIOR.delta(step) / 2 * 1.001


def test_the_length_is_that_of_the_entropy() -> None:
    step, rows = 0.25, vectors(300)
    lengths = [8 * (len(encode_latent(row, PRIOR, step=step, width=1, height=1)) - 12) for row in rows]
    # The entropy of a Laplace distribution in fine bins: log2(2 e b / delta) bits a number.
    expected = float(np.sum(np.log2(2 * np.e * np.maximum(PRIOR.scales / PRIOR.delta(step), 0.4))))
    assert np.mean(lengths) == pytest.approx(expected, rel=0.08)


def test_a_finer_step_is_longer_and_nearer() -> None:
    latent = vectors(1)[0]
    codes = [encode_latent(latent, PRIOR, step=step, width=1, height=1) for step in (2.0, 0.5, 0.1)]
    assert [len(code) for code in codes] == sorted({len(code) for code in codes})
    gaps = [float(np.abs(decode_latent(code, PRIOR).latent - latent).max()) for code in codes]
    assert gaps == sorted(gaps, reverse=True)


def test_numbers_far_out_are_cut_off_and_a_constant_one_costs_nothing() -> None:
    prior = Prior.fit(np.concatenate([vectors(50, 3), np.zeros((50, 1))], axis=1))
    code = encode_latent(np.array([1e9, 0, 0, 0.0]), prior, step=0.5, width=1, height=1)
    found = decode_latent(code, prior)
    assert found.latent[0] == pytest.approx(prior.means[0] + MAX_SYMBOL * prior.delta(0.5))
    assert found.latent[3] == 0


@pytest.mark.parametrize(
    "code", [b"", b"VDC1", b"PNG\0" + bytes(12), b"VDC1" + bytes(9), b"VDC1" + bytes(12)]
)
def test_other_bytes_are_refused(code: bytes) -> None:
    with pytest.raises(SpecError, match="no code of veedor"):
        decode_latent(code, PRIOR)


def test_random_words_are_a_code_or_refused_and_nothing_worse() -> None:
    rng = np.random.default_rng(2)
    head = encode_latent(vectors(1)[0], PRIOR, step=0.5, width=1, height=1)[:12]
    for _ in range(50):
        body = rng.integers(0, 2**32, rng.integers(0, 8), dtype=np.uint32).tobytes()
        try:
            assert decode_latent(head + body, PRIOR).latent.shape == (64,)
        except SpecError:
            continue


def test_a_step_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="step"):
        encode_latent(vectors(1)[0], PRIOR, step=0, width=1, height=1)
