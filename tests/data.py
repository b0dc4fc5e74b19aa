"""Where the real data and weights are, for the tests that measure against them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def shared_data(*parts: str) -> Path:
    """Return a path under the shared data folder, or skip the calling test with the reason."""
    base = Path(os.environ.get("VEEDOR_DATA", ROOT.parent / "shared" / "data"))
    path = base.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data not here: {'/'.join(parts)} (set VEEDOR_DATA to the folder that holds it)")
    return path
