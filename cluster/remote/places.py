"""Which of a spec's locations are on the machine that submits it, and may not be where it runs."""

from __future__ import annotations

from cluster.locations import AnyJobSpec, locations
from cvcore.errors import SpecError
from jobs.storage import is_s3


def local_places(spec: AnyJobSpec) -> dict[str, str]:
    """Key to path, of every location of a spec that is no object storage."""
    return {key: location for key, location in locations(spec) if not is_s3(location)}


def refuse_local_places(spec: AnyJobSpec, *, url: str) -> None:
    """Raises `SpecError` for a spec with locations that a cluster elsewhere cannot reach."""
    places = local_places(spec)
    if places:
        shown = ", ".join(f"{key} ({path})" for key, path in places.items())
        raise SpecError(
            f"{shown}: on this machine, where the nodes of {url} do not see it. Put it on s3://, or give "
            "--shared-paths if every node has it at the same place"
        )
