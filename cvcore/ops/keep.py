"""A bounded store that keeps the rows of highest keys, of all that are shown to it."""

from __future__ import annotations

import torch
from torch import Tensor


class Keep:
    """Keys and their rows; with random keys it is a uniform sample.

    Attributes:
        limit: rows kept.
        keys: (N,) of the rows kept, in no order.
        rows: parallel tensors, (N, ...) each; empty until something is added.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.keys = torch.zeros(0)
        self.rows: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: Tensor, *rows: Tensor) -> None:
        """Show (M,) keys and their rows, (M, ...) each, always of the same kinds."""
        if len(self) == self.limit:
            better = keys > self.keys.min()
            keys, rows = keys[better], tuple(row[better] for row in rows)
        if not len(keys):
            return
        all_keys = torch.cat([self.keys, keys])
        best = all_keys.topk(min(self.limit, len(all_keys))).indices
        old = self.rows or tuple(row[:0] for row in rows)
        self.rows = tuple(torch.cat(both)[best] for both in zip(old, rows, strict=True))
        self.keys = all_keys[best]
