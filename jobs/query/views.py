"""The views over a run, as SQL: which there are depends on what its rows hold."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

ROWS, TRACKS, CORRECTIONS = "run_rows", "run_tracks", "run_corrections"
"""What views select from: rows as they lie in the run, its table of tracks, what was imported into it."""

_LISTS = ("detections", "proposals", "labels", "classes")
"""Columns that hold several things of an input; each is a view."""
_ANOMALIES = ("anomaly_score", "anomaly_raw", "is_anomaly", "brightness", "contrast")
_CORNERS = ", ".join(f"{{0}}.box[{k}] as {name}" for k, name in enumerate(("x0", "y0", "x1", "y1"), 1))


def run_views(rows: pa.Schema, tables: Collection[str]) -> dict[str, str]:
    """The body of each view by its name.

    Args:
        rows: of the run's files.
        tables: which of `ROWS`, `TRACKS` and `CORRECTIONS` there are.

    Views:
        images: a row an input: what the run says of it but what the next ones list, and how many those are.
        failures: of inputs that failed, why.
        detections, proposals: a row a box; `number` counts an input's boxes from 0, as the run has them.
        labels, classes: likewise, of what a classifier or a segmenter says of an input.
        anomalies, embeddings: of scans and of embed jobs.
        tracks: as `tracks.parquet` has them.
        corrections: what was imported, the latest of each input.
        reviewed: detections with the corrections applied.
    """
    views = {"images": _images(rows), "failures": _failures()}
    for name in _LISTS:
        if name in rows.names:
            views[name] = _listed(name, rows.field(name).type.value_type)
    if "anomaly_score" in rows.names:
        views["anomalies"] = _columns([name for name in _ANOMALIES if name in rows.names])
    if "embedding" in rows.names:
        views["embeddings"] = _columns(["embedding"])
    if TRACKS in tables:
        views["tracks"] = f"select * from {TRACKS}"
    if CORRECTIONS in tables and "detections" in views:
        views["corrections"] = _latest()
        views["reviewed"] = _reviewed(rows.field("detections").type.value_type)
    return views


def _images(rows: pa.Schema) -> str:
    wanted = [f'"{name}"' for name in rows.names if name not in _LISTS]
    wanted += [f"len({name})::int as num_{name}" for name in _LISTS if name in rows.names]
    return f"select {', '.join(wanted)} from {ROWS}"


def _failures() -> str:
    return f"select uri, frame_index, status, error_code, error from {ROWS} where status <> 'ok'"


def _columns(names: list[str]) -> str:
    return f"select uri, frame_index, {', '.join(names)} from {ROWS} where status = 'ok'"


def _listed(name: str, item: pa.StructType) -> str:
    fields = [item.field(k).name for k in range(item.num_fields)]
    fields.sort(key=lambda field: field == "box")  # last
    shown = ", ".join(_CORNERS.format("d") if field == "box" else f"d.{field}" for field in fields)
    return (
        f"select uri, frame_index, number::int as number, {shown} from (select uri, frame_index, "
        f"unnest({name}) as d, unnest(range(len({name}))) as number from {ROWS})"
    )


def _latest() -> str:
    """An import says all that is to be said of an input: a later one takes the place of those before."""
    return (
        f"select * from {CORRECTIONS} qualify import = max(import) over "
        "(partition by uri, coalesce(frame_index, -1))"
    )


def _reviewed(box: pa.StructType) -> str:
    fields = {box.field(k).name for k in range(box.num_fields)}
    own = [
        f"case when c.action is null then d.{name} else c.{name} end as {name}"
        for name in ("label", "x0", "y0", "x1", "y1")
    ]
    if "track_id" in fields:
        own.append("case when c.action is null then d.track_id else c.track_id end as track_id")
    added = ["c.label", "c.x0", "c.y0", "c.x1", "c.y1", *(["c.track_id"] if "track_id" in fields else [])]
    noted = "c.action, c.who, c.made, c.tool"
    return (
        f"select d.uri, d.frame_index, d.number, d.score, {', '.join(own)}, {noted} from detections d "
        "left join corrections c on c.uri = d.uri and c.frame_index is not distinct from d.frame_index "
        "and c.number = d.number where c.action is distinct from 'reject' union all "
        f"select c.uri, c.frame_index, null, null, {', '.join(added)}, {noted} from corrections c "
        "where c.action = 'add'"
    )
