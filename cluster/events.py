"""A run's events as JSON objects, one a line: what `--json` prints, and how a driver elsewhere is followed.

They are what a `cluster.console.Display` is told: `step`, `progress`, `result`, `error`. `replay` is the way
back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jobs.outcome import RunResult
from jobs.progress import Snapshot, StageCount

if TYPE_CHECKING:
    from cluster.console import Display

KINDS = ("step", "progress", "result", "error")
KEPT_OF_MANIFEST = ("job_id", "counts", "failures", "skipped", "scan")
Event = dict[str, Any]


def step_event(text: str, facts: dict[str, Any]) -> Event:
    return {"event": "step", "text": text, **facts}


def error_event(message: str) -> Event:
    return {"event": "error", "message": message}


def progress_event(snapshot: Snapshot) -> Event:
    stages = {
        stage: {
            "ok": count.ok,
            "failed": count.failed,
            "images_per_s": round(snapshot.images_per_s(stage), 2),
            "remaining_s": _rounded(snapshot.remaining_s(stage)),
        }
        for stage, count in snapshot.stages.items()
    }
    return {
        "event": "progress",
        "total": snapshot.total,
        "published_before": snapshot.before,
        "elapsed_s": round(snapshot.elapsed_s, 1),
        "actors_ready": snapshot.actors_ready,
        "actors": snapshot.actors,
        "stages": stages,
    }


def result_event(result: RunResult) -> Event:
    return {
        "event": "result",
        "uri": result.uri,
        "outcome": result.outcome,
        "wall_s": round(result.wall_s, 2),
        "startup_s": round(result.startup_s, 2),
        "images_per_s": round(result.images_per_s, 2),
        "over_limit": result.over_limit,
        **{name: result.manifest[name] for name in KEPT_OF_MANIFEST if name in result.manifest},
    }


def parse_event(line: str) -> Event | None:
    """The event in a line of a log; None for what others print there."""
    if not line.startswith("{"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.get("event") in KINDS else None


def snapshot_of(event: Event) -> Snapshot:
    """The inverse of `progress_event`, to the digits that it keeps."""
    stages = event["stages"]
    return Snapshot(
        total=event["total"],
        before=event["published_before"],
        elapsed_s=event["elapsed_s"],
        actors_ready=event["actors_ready"],
        actors=event["actors"],
        stages={name: StageCount(stage["ok"], stage["failed"]) for name, stage in stages.items()},
        rates={name: stage["images_per_s"] for name, stage in stages.items()},
    )


def result_of(event: Event) -> RunResult:
    """The inverse of `result_event`."""
    return RunResult(
        uri=event["uri"],
        outcome=event["outcome"],
        manifest={name: event[name] for name in KEPT_OF_MANIFEST if name in event},
        wall_s=event["wall_s"],
        startup_s=event["startup_s"],
        images_per_s=event["images_per_s"],
        over_limit=event["over_limit"],
    )


def replay(event: Event, display: Display) -> None:
    """Tell a display here what happened elsewhere."""
    facts = dict(event)
    match facts.pop("event"):
        case "step":
            display.step(facts.pop("text"), **facts)
        case "progress":
            display.progress(snapshot_of(event))
        case "result":
            display.result(result_of(event))
        case "error":
            display.error(facts["message"])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
