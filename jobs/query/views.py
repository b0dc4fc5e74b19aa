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
        decided: inputs of which every detection was corrected or accepted, or that were found rightly empty.
    """
    views = {"images": _images(rows), "failures": _failures()}
    for name in _LISTS:
        if name in rows.names:
            views[name] = listed(name, rows.field(name).type.value_type)
    if "anomaly_score" in rows.names:
        views["anomalies"] = _columns([name for name in _ANOMALIES if name in rows.names])
    if "embedding" in rows.names:
        views["embeddings"] = _columns(["embedding"])
    if TRACKS in tables:
        views["tracks"] = f"select * from {TRACKS}"
    if CORRECTIONS in tables and "detections" in views:
        views["corrections"] = latest(CORRECTIONS)
        views["reviewed"] = _reviewed(rows.field("detections").type.value_type)
        views["decided"] = decided("images", "corrections", by="uri, frame_index")
    return views


def _images(rows: pa.Schema) -> str:
    wanted = [f'"{name}"' for name in rows.names if name not in _LISTS]
    wanted += [f"len({name})::int as num_{name}" for name in _LISTS if name in rows.names]
    return f"select {', '.join(wanted)} from {ROWS}"


def _failures() -> str:
    return f"select uri, frame_index, status, error_code, error from {ROWS} where status <> 'ok'"


def _columns(names: list[str]) -> str:
    return f"select uri, frame_index, {', '.join(names)} from {ROWS} where status = 'ok'"


def listed(name: str, item: pa.StructType, *, by: str = "uri, frame_index") -> str:
    """The body of a view over a column that lists things, numbered from 0 in each input.

    Args:
        name: of the column.
        item: what it lists.
        by: the columns that an input is known by.
    """
    fields = [item.field(k).name for k in range(item.num_fields)]
    fields.sort(key=lambda field: field == "box")  # last
    shown = ", ".join(_CORNERS.format("d") if field == "box" else f"d.{field}" for field in fields)
    return (
        f"select {by}, number::int as number, {shown} from (select {by}, "
        f"unnest({name}) as d, unnest(range(len({name}))) as number from {ROWS})"
    )


def latest(corrections: str) -> str:
    """An import says all that is to be said of an input: a later one takes the place of those before."""
    return (
        f"select * from {corrections} qualify import = max(import) over "
        "(partition by uri, coalesce(frame_index, -1))"
    )


def decided(images: str, corrections: str, *, by: str) -> str:
    """The inputs of which all was decided, as the body of a view.

    Args:
        images: a table with `num_detections`.
        corrections: the latest of each input.
        by: the columns that both know an input by.
    """
    names = [name.strip() for name in by.split(",")]
    same = " and ".join(f"i.{name} is not distinct from c.{name}" for name in names)
    said = (
        f"select {by}, count(number) as num, bool_or(action in ('empty', 'add')) as looked_at "
        f"from {corrections} group by all"
    )
    return (
        f"select {', '.join(f'i.{name}' for name in names)} from {images} i join ({said}) c on {same} "
        "where c.num >= i.num_detections and (i.num_detections > 0 or c.looked_at)"
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
