"""Numba's compiler, with what it makes kept between processes where there is a place to keep it.

Modules that use it are imported by the functions that need them: Numba takes half a second to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, compiled when it is first called; it holds no lock of Python's meanwhile."""
    try:
        found: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        found = numba.njit(nogil=True)(function)
    return found
