"""Where reading and writing is allowed at all: decided by the operator, never by a spec.

`VEEDOR_ALLOWED_ROOTS` holds paths and `s3://bucket/prefix` locations, separated as in `PATH`. Every location
must lie at or below one of them: for local paths after all links are followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from cvcore.errors import SpecError
from jobs.storage.locations import is_s3, resolve_location

VARIABLE = "VEEDOR_ALLOWED_ROOTS"

Roots = tuple[tuple[str, ...], ...]
"""Groups of locations: something is allowed where each group has a location above it."""

# The colon of s3:// separates nothing.
_SEPARATOR = re.compile(re.escape(os.pathsep) + "(?!//)")


def environment_roots() -> Roots:
    """The operator's roots; no group where the variable is not set.

    Raises:
        SpecError: if it is set but says nothing, or something else than absolute paths and s3:// locations.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return ()
    names = [name for name in _SEPARATOR.split(text) if name.strip()]
    wrong = [name for name in names if not name.startswith(("/", "s3://"))]
    if wrong or not names:
        raise SpecError(
            f"{VARIABLE} must name absolute paths or s3://bucket/prefix locations, separated by "
            f"{os.pathsep!r}; it is {text!r}"
        )
    return (tuple(resolve_location(name) for name in names),)


def is_allowed(uri: str, roots: Roots) -> bool:
    """Whether a location lies below the roots, now: links are followed."""
    if not roots:
        return True
    if is_s3(uri):
        # Servers and proxies differ in what they make of dot segments.
        plain = not {".", ".."} & set(uri.split("/"))
        return plain and all(_is_below(uri, group) for group in roots)
    return is_real_path_allowed(os.path.realpath(uri), roots)


def is_real_path_allowed(real_path: str, roots: Roots) -> bool:
    """The same for a local path that has no links in it."""
    return all(_is_below(real_path, (os.path.realpath(r) for r in group if not is_s3(r))) for group in roots)


def _is_below(location: str, roots: Iterable[str]) -> bool:
    return any(location == root or location.startswith(root.rstrip("/") + "/") for root in map(_bare, roots))


def _bare(root: str) -> str:
    return root.rstrip("/") or "/"


def refusal(uri: str, roots: Roots) -> str:
    """What to say of a location that is not allowed."""
    allowed = " and ".join(", ".join(group) for group in roots)
    return f"{uri} is outside of the allowed locations ({allowed}): {VARIABLE} and the job's source decide"
