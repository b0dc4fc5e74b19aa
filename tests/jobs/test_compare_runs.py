"""Two runs side by side: counted as a loop counts them, and shown with pictures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from cvcore.errors import SpecError
from jobs.agreement import compare_found
from jobs.compare_runs import Options, RunComparison, compare_runs, open_runs
from jobs.export.rows import Choice, Found
from jobs.run_comparison_files import run_comparison_content, write_run_comparison
from jobs.storage import Access
from tests.browsers import open_browser, quiet_page
from tests.exchange import LABELS, make_rows, write_run

NUM = 30


def altered(rows: list[dict[str, Any]], seed: int = 1) -> list[dict[str, Any]]:
    """What another model finds: fewer, moved, under other labels, with other scores, and something more."""
    rng = np.random.default_rng(seed)
    result = []
    for row in rows:
        found = []
        for each in row["detections"] or ():
            if rng.random() < 0.2:
                continue
            label = int(rng.integers(3)) if rng.random() < 0.3 else each["label_id"]
            score = float(np.float32(np.clip(each["score"] + rng.normal(0, 0.1), 0, 1)))
            moved = np.asarray(each["box"], np.float32) + rng.normal(0, 2, 4).astype(np.float32)
            box = np.concatenate(
                [np.minimum(moved[:2], moved[2:]), np.maximum(moved[:2], moved[2:])]
            ).tolist()
            found.append({"box": box, "label": LABELS[label], "label_id": label, "score": score})
        if rng.random() < 0.3 and row["detections"] is not None:
            extra = {"box": [1.0, 1.0, 9.0, 9.0], "label": "dog", "label_id": 2, "score": float(rng.random())}
            found.append(extra)
        result.append(row | {"detections": None if row["detections"] is None else found})
    return result


def two_runs(folder: Path, ones: list[dict[str, Any]], others: list[dict[str, Any]]) -> tuple[Path, Path]:
    one = write_run(folder, ones, parts=3)
    one.rename(folder / "first")
    other = write_run(folder, others, parts=2)
    other.rename(folder / "second")
    return folder / "first", folder / "second"


def compare(one: Path, other: Path, **options: Any) -> RunComparison:
    with open_runs(str(one), str(other), access=Access()) as (first, second):
        return compare_runs(first, second, Options(**options))


def as_found(row: dict[str, Any]) -> list[Found]:
    return [
        Found(k, 0, tuple(map(float, np.float32(each["box"]))), each["label"], 0, each["score"])  # type: ignore[arg-type]
        for k, each in enumerate(row["detections"])
    ]


def test_figures_are_those_of_a_loop(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=NUM, seed=3)
    others = altered(rows)
    found = compare(*two_runs(tmp_path, rows, others))
    pairs = [
        compare_found(as_found(a), as_found(b))
        for a, b in zip(rows, others, strict=True)
        if a["detections"] is not None
    ]
    same = [match for pair in pairs for match in pair.matches if match.same_label]
    assert (found.num_images, found.num_alike) == (NUM - 1, sum(not pair.differs for pair in pairs))
    total = found.total
    assert total.same == len(same) == sum(found.iou_histogram.counts) == sum(found.change_histogram.counts)
    assert total.only_one == sum(len(pair.only_one) for pair in pairs)
    assert total.only_other == sum(len(pair.only_other) for pair in pairs)
    assert total.iou == pytest.approx(sum(match.iou for match in same))
    assert total.change == pytest.approx(sum(abs(match.score_change) for match in same))
    swaps = Counter((m.one.label, m.other.label) for p in pairs for m in p.matches if not m.same_label)
    assert found.swaps == swaps
    assert total.other_label == sum(swaps.values()) > 0
    for label in LABELS:
        each = found.labels[label]
        assert each.one == sum(f["label"] == label for row in rows for f in row["detections"] or ())
        assert each.other == sum(f["label"] == label for row in others for f in row["detections"] or ())
        assert each.one == each.same + each.other_label + each.only_one
    worst = found.examples["only_one"][0]
    assert worst.weight == max(f.score for pair in pairs for f in pair.only_one)  # type: ignore[type-var]
    changes = sorted((abs(m.score_change) for m in same), reverse=True)[:10]
    assert [each.weight for each in found.examples["score"]] == changes


def test_a_run_agrees_with_a_copy_of_itself(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=NUM)
    found = compare(*two_runs(tmp_path, rows, rows))
    assert found.agreement == 1
    assert found.num_alike == found.num_images == NUM - 1
    assert not any(found.examples.values())
    assert found.total.iou == found.total.same


def test_swapping_the_runs_swaps_the_figures(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=NUM, seed=4)
    one, other = two_runs(tmp_path, rows, altered(rows, 5))
    found, back = compare(one, other), compare(other, one)
    assert found.agreement == back.agreement
    assert found.total.only_one == back.total.only_other
    assert found.swaps == Counter({(b, a): count for (a, b), count in back.swaps.items()})


def test_images_that_cannot_be_compared_are_counted(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=8)
    others = [dict(row) for row in rows[1:]]
    others[0]["etag"] = "another"
    others[2] |= {"status": "decode", "error_code": "truncated", "detections": None}
    others.append(rows[0] | {"uri": str(tmp_path / "images" / "z.jpg")})
    found = compare(*two_runs(tmp_path, rows, others))
    assert (found.only_in.one, found.only_in.other) == (1, 1)
    assert (found.failed.one, found.failed.other) == (0, 1)
    assert found.changed == 1
    assert found.num_images == 4
    images = run_comparison_content(found)["images"]
    assert images == {"compared": 4, "alike": 4, "only_in": [1, 1], "failed_in": [0, 1], "changed": 1}


def test_labels_and_scores_choose(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=NUM)
    runs = two_runs(tmp_path, rows, altered(rows))
    found = compare(*runs, choice=Choice(("dog",), 0.5))
    assert set(found.labels) == {"dog"}
    wanted = [f for row in rows for f in row["detections"] or () if f["label"] == "dog" and f["score"] >= 0.5]
    assert found.total.one == len(wanted)
    with pytest.raises(SpecError, match=r"neither run has the label 'dg'\. Did you mean 'dog'"):
        compare(*runs, choice=Choice(("dg",)))


def test_what_is_refused(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=4)
    others = [row | {"uri": row["uri"] + "x"} for row in rows]
    one, other = two_runs(tmp_path, rows, others)
    with pytest.raises(SpecError, match="no image in common"):
        compare(one, other)
    with pytest.raises(SpecError, match="named twice"):
        compare(one, one)
    with pytest.raises(SpecError, match="IoU from above 0 to 1, not 0"):
        Options(min_iou=0)
    (other / "_SUCCESS.json").unlink()
    with pytest.raises(SpecError, match="second is not finished"):
        compare(one, other)


def test_the_page_shows_each_kind_and_keeps_to_itself(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=NUM, write_images=True)
    for row in rows:
        row["etag"] = ""
    rows[5]["detections"][0] |= {"label": "dog", "label_id": 2, "score": 0.99}
    others = altered(rows)
    others[0]["detections"] = [rows[0]["detections"][0] | {"score": 0.01}]
    one, other = two_runs(tmp_path, rows, others)
    with open_runs(str(one), str(other), access=Access()) as (first, second):
        found = compare_runs(first, second)
        page = write_run_comparison(found, first, str(tmp_path / "out"), Access())
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert content["objects"]["same"] == found.total.same
    assert "http" not in Path(page).read_text().replace("http-equiv", "").replace("http://www.w3.org", "")
    with open_browser() as browser, quiet_page(browser, Path(page)) as opened:
        expect(opened.locator("h1")).to_have_text("first and second")
        titles = opened.locator(".panel h2").all_inner_texts()
        assert titles[-5:] == [
            "Only in the first",
            "Only in the second",
            "Other label",
            "Other score",
            "Other place",
        ]
        assert opened.locator(".error-card").count() == sum(map(len, found.examples.values()))
        assert opened.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
