"""Reference implementations that `make setup` puts into a folder of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest


def reference(name: str) -> ModuleType:
    """Import a reference; the test is skipped where it is not installed."""
    folder = str(Path(sys.prefix) / "references")
    if folder not in sys.path:
        sys.path.append(folder)
    return pytest.importorskip(name, reason=f"{name} is not installed: `make setup` installs it")
