"""The project's exceptions.

A `VeedorError` is a user's mistake or a condition of the user's data: its message names the value, what
is allowed and the way out, and the command line prints it without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class VeedorError(Exception):
    """Base of everything that the project raises on purpose."""


class SpecError(VeedorError):
    """A spec, an argument or a combination of them is wrong; no work was done (exit code 2)."""


class ModelError(VeedorError):
    """A model cannot be named, built, or given the weights it was asked to load."""


class WeightsError(ModelError):
    """Weights are missing, corrupt, or belong to another architecture."""


class CfgError(ModelError):
    """A Darknet `.cfg` is not valid; the message names line and section."""


class ImageError(VeedorError):
    """One image cannot be used; `code` is the closed, machine-readable reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.code, str(self))


class TooFewNormalsError(VeedorError):
    """There are not enough normal images for what is asked of them."""


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return `" Did you mean 'x'?"` for the nearest of `allowed`, or the empty string."""
    near = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""
