"""Exports of a run as people left it: what the view `reviewed` has, in every format's words."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from cvcore.errors import SpecError
from jobs.export.export import export_run
from jobs.export.options import Options
from jobs.export.rows import Choice
from jobs.imports.corrections import import_corrections
from jobs.query.session import open_query
from jobs.storage import Access
from tests.exchange import make_rows, write_run


def export(run: Path, to: str, name: str, **options: Any) -> Path:
    out = run.parent / name
    export_run(str(run), to=to, out=str(out), access=Access(), options=Options(**options))
    return out


def ask(run: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(open_query(str(run), access=Access()).ask(sql).rows)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of which someone looked at three images: moved, relabelled, removed and added something."""
    run = write_run(tmp_path, make_rows(tmp_path, masks=True), masks=True)
    document = export(run, "coco", "given") / "annotations.json"
    content = json.loads(document.read_text())
    seen = {image["id"] for image in content["images"][:3]}
    content["images"] = content["images"][:3]
    said = [each for each in content["annotations"] if each["image_id"] in seen]
    said[0]["bbox"][0] += 1.5
    said.append({"id": 99, "image_id": said[0]["image_id"], "category_id": 4, "bbox": [1, 2, 3, 4]})
    content["categories"].append({"id": 4, "name": "cat"})
    said[1]["category_id"] = said[1]["category_id"] % 3 + 1
    del said[2]
    content["annotations"] = said
    document.write_text(json.dumps(content))
    import_corrections(str(document), str(run), of="coco", who="ann", access=Access())
    return run


def test_boxes_are_those_of_the_view(run: Path) -> None:
    with (export(run, "csv", "out", corrections="apply") / "detections.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {
        (
            row["uri"],
            row["label"],
            *(float(row[k]) for k in ("x0", "y0", "x1", "y1")),
            float(row["score"] or -1),
        )
        for row in rows
    }
    assert found == set(ask(run, "select uri, label, x0, y0, x1, y1, coalesce(score, -1) from reviewed"))
    assert {row["label"] for row in rows} >= {"cat"}
    assert len({(row["uri"], row["number"]) for row in rows}) == len(rows)
    moved = ask(run, "select uri, number from corrections where action = 'move'")[0]
    masks = {(row["uri"], int(row["number"])): row["mask_counts"] for row in rows}
    assert sum(not counts for counts in masks.values()) == 1, "what was added has none"
    assert masks[moved], "what was moved has the one that it came back with"


def test_only_what_was_decided_wholly(run: Path) -> None:
    out = export(run, "coco", "out", corrections="only")
    content = json.loads((out / "annotations.json").read_text())
    decided = ask(run, "select uri from decided order by 1")
    assert sorted((image["uri"],) for image in content["images"]) == decided
    assert len(decided) == 3
    assert ("img 001.jpg",) in [(uri.rpartition("/")[2],) for (uri,) in decided], "rightly empty"
    assert len({each["id"] for each in content["annotations"]}) == len(content["annotations"])
    manifest = json.loads((out / "veedor.json").read_text())
    assert manifest["corrections"] == "only"
    assert manifest["counts"]["left_out"] == 3
    assert [each["name"] for each in content["categories"]] == ["car", "traffic light", "dog", "cat"]


def test_labels_and_scores_choose_among_what_is_corrected(run: Path) -> None:
    out = export(run, "coco", "out", corrections="apply", choice=Choice(("cat",)))
    content = json.loads((out / "annotations.json").read_text())
    assert [each["bbox"] for each in content["annotations"]] == [[1, 2, 3, 4]]
    with pytest.raises(SpecError, match="no label 'cat'"):
        export(run, "coco", "other", choice=Choice(("cat",)))


def test_without_corrections(tmp_path: Path) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    plain, applied = export(run, "coco", "plain"), export(run, "coco", "applied", corrections="apply")
    assert (plain / "annotations.json").read_bytes() == (applied / "annotations.json").read_bytes()
    nothing = json.loads((export(run, "coco", "only", corrections="only") / "annotations.json").read_text())
    assert nothing["images"] == []


def test_another_word(run: Path) -> None:
    with pytest.raises(SpecError, match=r"ignore, apply, only, undecided; not 'aply'\. Did you mean 'apply'"):
        export(run, "coco", "out", corrections="aply")
