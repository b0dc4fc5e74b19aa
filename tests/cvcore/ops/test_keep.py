from __future__ import annotations

import torch

from cvcore.ops.keep import Keep


def test_the_highest_keys_stay_with_their_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.rand(100, generator=generator)
    rows = torch.stack([keys, -keys], dim=1)
    kept = Keep(7)
    for part in torch.arange(100).split(9):
        kept.add(keys[part], rows[part], part)
    assert sorted(kept.keys.tolist()) == sorted(keys.topk(7).values.tolist())
    assert torch.equal(kept.rows[0], torch.stack([kept.keys, -kept.keys], dim=1))
    assert torch.equal(keys[kept.rows[1]], kept.keys)


def test_nothing_added_keeps_nothing() -> None:
    kept = Keep(3)
    kept.add(torch.zeros(0), torch.zeros(0, 2))
    assert len(kept) == 0
