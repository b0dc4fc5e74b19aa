"""Shares of a dataset that has no splits of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

SPLITS = ("train", "val", "test")
ALIASES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}


def split_by_seed(names: Iterable[str], *, seed: int, shares: Mapping[str, float]) -> dict[str, str]:
    """Which split each image is in, decided by its name and the seed alone: adding images moves none.

    Args:
        names: of images.
        seed: another one gives other splits.
        shares: by split, in order; they add up to 1. Splits have about so much of many images.

    Raises:
        ValueError: for shares below 0, or that do not add up to 1.
    """
    if min(shares.values(), default=-1) < 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares must be at least 0 and add up to 1, got {dict(shares)}")
    return {name: _split(name, seed, shares) for name in names}


def _split(name: str, seed: int, shares: Mapping[str, float]) -> str:
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    bound = 0.0
    for split, share in shares.items():
        bound += share
        if place < bound:
            return split
    return [split for split, share in shares.items() if share > 0][-1]
