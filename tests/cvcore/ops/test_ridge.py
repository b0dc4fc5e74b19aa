from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import Ridge

from cvcore.ops.ridge import ridge


@pytest.mark.parametrize("shape", [(200, 30), (20, 60), (1, 5)], ids=["tall", "wide", "one example"])
def test_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(shape, generator=generator) + 2
    targets = torch.randn(shape[0], 4, generator=generator) + features[:, :1]
    weights, bias = ridge(features, targets, penalty=7.0)
    expected = Ridge(alpha=7.0).fit(features.double().numpy(), targets.double().numpy())
    torch.testing.assert_close(weights, torch.from_numpy(expected.coef_.T).float(), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bias, torch.from_numpy(expected.intercept_).float(), atol=1e-4, rtol=1e-4)


def test_without_examples_nothing_is_moved() -> None:
    weights, bias = ridge(torch.zeros(0, 3), torch.zeros(0, 4), penalty=1.0)
    assert weights.shape == (3, 4)
    assert not weights.any()
    assert not bias.any()
