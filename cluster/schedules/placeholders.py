"""Places in a spec for the tick that it is run for: `{date}` and `{tick}`.

They may stand in `source`, `detections` and `sink`. `{date}` is the tick's date in the schedule's zone, as
2026-11-29; `{tick}` its instant, as 20261129T010000Z.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from cvcore.errors import SpecError, did_you_mean

READ = ("source", "detections")
PLACES = ("date", "tick")
_PLACE = re.compile(r"\{([A-Za-z_]+)\}")


def names_tick(spec: Mapping[str, Any]) -> bool:
    """Whether what the job reads depends on the tick."""
    return any(_names({key: spec.get(key)}) for key in READ)


def sink_names_tick(spec: Mapping[str, Any]) -> bool:
    """Whether where the results go depends on the tick."""
    return bool(_names(spec.get("sink")))


def check_places(spec: Mapping[str, Any]) -> None:
    """Raises `SpecError` for a place that there is not."""
    for name in _names({key: spec.get(key) for key in (*READ, "sink")}):
        if name not in PLACES:
            raise SpecError(
                f"there is no {{{name}}}.{did_you_mean(name, PLACES)} source, detections and sink may hold "
                "{date}, the tick's date, and {tick}, its instant"
            )


def filled(spec: Mapping[str, Any], instant: datetime, zone: ZoneInfo) -> dict[str, Any]:
    """The spec of one tick."""
    values = {
        "date": instant.astimezone(zone).strftime("%Y-%m-%d"),
        "tick": instant.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"),
    }

    def fill(text: str) -> str:
        return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)

    return {key: _mapped(value, fill) if key in (*READ, "sink") else value for key, value in spec.items()}


def _names(value: Any) -> list[str]:
    """Names of places in all texts of a value."""
    found: list[str] = []

    def look(text: str) -> str:
        found.extend(_PLACE.findall(text))
        return text

    _mapped(value, look)
    return found


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _mapped(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(inner, change) for inner in value]
    return value
