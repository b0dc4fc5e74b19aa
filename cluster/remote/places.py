"""Which of a spec's locations are on the machine that submits it, and may not be where it runs."""

from __future__ import annotations

from typing import Any

from cvcore.errors import SpecError
from jobs.model_files import located
from jobs.spec import AnySpec
from jobs.storage import is_s3

_LOCATIONS = (("source", "uri"), ("detections",), ("calibration",), ("sink", "uri"))
_MODEL_PARTS = ("name", "weights", "labels")


def with_absolute_model(spec: AnySpec) -> AnySpec:
    """The spec with its model's local parts by absolute path: a driver starts in another folder."""
    model = getattr(spec, "model", None)
    return spec if model is None else spec.model_copy(update={"model": located(model)})


def local_places(spec: Any) -> dict[str, str]:
    """Key to path, of every location of a spec that is no object storage."""
    content = spec.model_dump(mode="json")
    found: dict[str, str] = {}
    for keys in _LOCATIONS:
        value: Any = content
        for key in keys:
            value = None if value is None else value.get(key)
        if isinstance(value, str) and not is_s3(value):
            found[".".join(keys)] = value
    model = content.get("model") or {}
    found |= {f"model.{part}": model[part] for part in _MODEL_PARTS if str(model.get(part)).startswith("/")}
    return found


def refuse_local_places(spec: Any, *, url: str) -> None:
    """Raises `SpecError` for a spec with locations that a cluster elsewhere cannot reach."""
    places = local_places(spec)
    if places:
        shown = ", ".join(f"{key} ({path})" for key, path in places.items())
        raise SpecError(
            f"{shown}: on this machine, where the nodes of {url} do not see it. Put it on s3://, or give "
            "--shared-paths if every node has it at the same place"
        )
