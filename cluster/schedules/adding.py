"""From a job's spec to what a schedule keeps of it, checked as far as that is possible before it is due."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cluster.locations import rooted
from cluster.schedules.placeholders import check_places, filled, names_tick, sink_names_tick
from cluster.schedules.schedule import Schedule
from cvcore.errors import SpecError
from jobs.catalog import find_job
from jobs.spec import validate_spec

NUM_LOOKED_AHEAD = 60
_SECRET = re.compile(
    r"://[^/\s]*@|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|-----BEGIN|"
    r"[?&](?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|sig|token)=",
    re.IGNORECASE,
)


def keepable_spec(content: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """The whole spec of a job as a schedule keeps it: valid, with every default, nothing relative, no secret.

    Raises:
        SpecError: the spec's own errors, by `name`; or what keeps it from being run on a schedule.
    """
    refuse_secrets(
        content,
        name=name,
        why="schedules are kept as they are. Credentials come from the environment or a profile "
        "(storage.profile) of whoever ticks; an address to alert from a variable (--alert-env)",
    )
    check_places(content)
    job = find_job(dict(content))
    spec = validate_spec(dict(content), job.spec, name=name)
    kept: dict[str, Any] = rooted(spec).model_dump(mode="json")
    _check_sink(kept, name=name)
    return kept


def refuse_secrets(content: Mapping[str, Any], *, name: str, why: str) -> None:
    """Raises `SpecError` where something in a spec looks like a secret; `why` says what is wrong with it."""
    for path, text in _texts(content):
        if _SECRET.search(text):
            raise SpecError(f"{name}: {path} holds what looks like a secret, and {why}")


def check_ticks(schedule: Schedule) -> None:
    """Check the specs of the next ticks.

    Raises:
        SpecError: if one is not valid, or if two would write to the same place.
    """
    job = find_job(schedule.spec)
    sinks: dict[str, datetime] = {}
    for instant in schedule.upcoming(schedule.since, NUM_LOOKED_AHEAD):
        spec = filled(schedule.spec, instant, schedule.zone)
        sink = validate_spec(
            spec, job.spec, name=f"the spec of the tick of {instant:%Y-%m-%d %H:%M} UTC"
        ).sink
        if sink.uri in sinks and schedule.spec["job"] != "scan":
            raise SpecError(
                f"the ticks of {sinks[sink.uri]:%Y-%m-%d %H:%M} and {instant:%Y-%m-%d %H:%M} UTC would both "
                f"write to {sink.uri}, and the second would find it done: put {{tick}} into sink.uri"
            )
        sinks[sink.uri] = instant


def _check_sink(spec: Mapping[str, Any], *, name: str) -> None:
    """Scans belong into one folder, all other jobs into one for each tick."""
    if spec["job"] == "scan" and (sink_names_tick(spec) or names_tick(spec)):
        raise SpecError(
            f"{name}: a scan takes what no scan into its sink has seen, so its source and sink are the same "
            "at every tick: take {date} and {tick} out"
        )
    if spec["job"] != "scan" and not sink_names_tick(spec):
        uri = spec["sink"]["uri"].rstrip("/")
        raise SpecError(
            f"{name}: after the first tick the job of {uri} would be done, and later ticks would do nothing. "
            f"Give each tick a folder: sink.uri: {uri}/{{date}}/ or …/{{tick}}/. source.uri may hold them too"
        )


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a value, with the way to it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _texts(inner, f"{path}[{place}]")
