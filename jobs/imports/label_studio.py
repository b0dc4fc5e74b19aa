"""Reading Label Studio's JSON export: what people made of tasks, not what they were shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np

from cvcore.errors import SpecError
from cvcore.ops.label_studio_rle import decode_brush
from jobs.imports.given import Given, GivenBox, Place, extent, number_of, one_rle, whole

_TRACK = re.compile(r"track_id=(\d+)")


def read_label_studio(place: Place) -> list[Given]:
    """Tasks that have an annotation; a task without one was not looked at.

    Raises:
        SpecError: if it is no such export, a task has two annotations, or a region is rotated.
    """
    uri, body = place.document("tasks.json", ".json")
    try:
        tasks = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{uri} is not JSON: {error}") from error
    if not isinstance(tasks, list) or not all(
        isinstance(t, dict) and isinstance(t.get("data"), dict) for t in tasks
    ):
        raise SpecError(f"{uri} is not Label Studio's JSON: it is a list of tasks, each with 'data'")
    found = []
    for task in tasks:
        made = [each for each in task.get("annotations") or () if not each.get("was_cancelled")]
        if len(made) > 1:
            raise SpecError(
                f"{uri}: the task of {_name(task['data'], uri)} has {len(made)} annotations, so that its "
                f"objects "
                "are corrected twice: keep one of them"
            )
        try:
            found += [_given(task["data"], each.get("result") or [], uri) for each in made]
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(f"{uri}: the task of {_name(task['data'], uri)}: {error!r}") from error
    if tasks and not found:
        raise SpecError(f"{uri}: no task has an annotation: export what was submitted, not predictions alone")
    return found


def _name(data: Mapping[str, Any], uri: str) -> str:
    name = data.get("name") or data.get("image")
    if not isinstance(name, str):
        raise SpecError(f"{uri}: a task's data has neither 'name' nor 'image'")
    # A server shows local files as /data/local-files/?d=<path>.
    return unquote(name.rpartition("?d=")[2]) if "?d=" in name else name


def _given(data: Mapping[str, Any], result: list[Mapping[str, Any]], uri: str) -> Given:
    given = Given(_name(data, uri), in_shares=True)
    where = data.get("uri", data.get("image"))
    given.uri = where if isinstance(where, str) else None
    given.uri_frame = whole(data.get("frame_index"))
    brushes = [each for each in result if each.get("type") == "brushlabels"]
    brush_of = {each["parentID"]: each for each in brushes if each.get("parentID")}
    used = set()
    for region in result:
        kind, value = region.get("type"), region.get("value")
        if kind not in ("rectanglelabels", "polygonlabels", "brushlabels") or not isinstance(value, dict):
            continue
        given.size = (int(region["original_width"]), int(region["original_height"]))
        if kind == "rectanglelabels":
            brush = brush_of.get(region.get("id"))
            used.add(id(brush))
            given.boxes.append(_rectangle(region, value, brush, given.size))
        elif kind == "polygonlabels":
            points = [(x / 100, y / 100) for x, y in value["points"]]
            given.boxes.append(GivenBox(value[kind][0], extent(points), outline=points))
    for region in brushes:
        if id(region) not in used:
            given.boxes.append(_lone_brush(region))
    return given


def _rectangle(
    region: Mapping[str, Any],
    value: Mapping[str, Any],
    brush: Mapping[str, Any] | None,
    size: tuple[int, int],
) -> GivenBox:
    if value.get("rotation"):
        raise ValueError(f"a rectangle is rotated by {value['rotation']} degrees, and boxes here are not")
    x, y = value["x"] / 100, value["y"] / 100
    box = (x, y, x + value["width"] / 100, y + value["height"] / 100)
    noted = " ".join((region.get("meta") or {}).get("text") or ())
    track = _TRACK.search(noted)
    return GivenBox(
        value["rectanglelabels"][0],
        box,
        number_of(region.get("score")),
        whole(region.get("id")),
        int(track[1]) if track else None,
        None if brush is None else _brush_mask(brush, size),
    )


def _brush_mask(brush: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    return one_rle(decode_brush(brush["value"]["rle"], height=size[1], width=size[0]))


def _lone_brush(brush: Mapping[str, Any]) -> GivenBox:
    """A brush that someone drew without a box: its extent is one."""
    width, height = int(brush["original_width"]), int(brush["original_height"])
    mask = decode_brush(brush["value"]["rle"], height=height, width=width)
    if not mask.any():
        raise ValueError("a brush without pixels is no object")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    box = (float(left / width), float(top / height), float(right / width), float(bottom / height))
    return GivenBox(brush["value"]["brushlabels"][0], box, mask=one_rle(mask))
