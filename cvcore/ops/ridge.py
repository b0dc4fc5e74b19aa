"""Ridge regression in closed form."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge(features: Tensor, targets: Tensor, *, penalty: float) -> tuple[Tensor, Tensor]:
    """Minimise |targets - features @ weights - bias|² + penalty |weights|².

    Solved in double precision, over whichever is fewer, features or examples.

    Args:
        features: (N, D).
        targets: (N, T).
        penalty: the paper's lambda, above 0.

    Returns:
        weights (D, T) and bias (T,), float32; zeros without examples.
    """
    if not len(features):
        return features.new_zeros(features.shape[1], targets.shape[1]), targets.new_zeros(targets.shape[1])
    x, y = features.double(), targets.double()
    x_mean, y_mean = x.mean(dim=0), y.mean(dim=0)
    x, y = x - x_mean, y - y_mean
    if x.shape[0] < x.shape[1]:
        gram = x @ x.T
        weights = x.T @ torch.linalg.solve(gram.diagonal_scatter(gram.diagonal() + penalty), y)
    else:
        gram = x.T @ x
        weights = torch.linalg.solve(gram.diagonal_scatter(gram.diagonal() + penalty), x.T @ y)
    return weights.float(), (y_mean - x_mean @ weights).float()
