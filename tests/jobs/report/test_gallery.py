"""Which images a report shows: the right ones, spread over labels, the same in any order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from jobs.report.gallery import DEFAULT_SIZES, FRAMES_A_SPOT, Candidate, Shelf, ShelfName, binary_entropy
from jobs.report.rows import iter_batches
from tests.jobs.report.fabricate import (
    LABELS,
    detection,
    failed_row,
    frame_row,
    ok_row,
    part_bytes,
    random_rows,
)

BOX = (0.0, 0.0, 10.0, 10.0)
ROWS = random_rows(11, 300)


def fill(name: ShelfName, size: int, rows: list[dict[str, Any]], *, batch_rows: int = 4096) -> Shelf:
    shelf = Shelf(name, size)
    first_row = 0
    for batch in iter_batches(part_bytes(rows), batch_rows=batch_rows):
        shelf.offer(batch, part="p", first_row=first_row)
        first_row += len(batch)
    return shelf


def one_label(scores: list[float]) -> list[dict[str, Any]]:
    return [ok_row(f"/{i}.jpg", [detection(0, score, BOX)]) for i, score in enumerate(scores)]


def names(candidates: list[Candidate]) -> list[str]:
    return [candidate.uri for candidate in candidates]


def test_highest_and_lowest_of_one_label_are_the_extremes() -> None:
    rows = one_label([0.5, 0.9, 0.3, 0.7, 0.8])
    assert names(fill("highest", 2, rows).choose()) == ["/1.jpg", "/4.jpg"]
    assert names(fill("lowest", 2, rows).choose()) == ["/2.jpg", "/0.jpg"]


def test_an_image_counts_by_its_best_detection() -> None:
    rows = [
        ok_row("/mixed.jpg", [detection(0, 0.1, BOX), detection(1, 0.95, BOX)]),
        ok_row("/weak.jpg", [detection(0, 0.4, BOX)]),
    ]
    assert names(fill("lowest", 1, rows).choose()) == ["/weak.jpg"]
    assert names(fill("highest", 1, rows).choose()) == ["/mixed.jpg"]


def test_uncertain_is_the_greatest_mean_binary_entropy() -> None:
    rows = [row for row in ROWS if row["detections"]]
    means = {
        row["uri"]: float(
            np.mean(binary_entropy(np.array([np.float32(d["score"]) for d in row["detections"]], float)))
        )
        for row in rows
    }
    (chosen,) = fill("uncertain", 1, ROWS).choose()
    assert chosen.value == pytest.approx(max(means.values()))
    assert means[chosen.uri] == pytest.approx(chosen.value)


@pytest.mark.parametrize(
    ("score", "bits"), [(0.5, 1.0), (0.0, 0.0), (1.0, 0.0), (0.25, 0.8112781), (0.75, 0.8112781)]
)
def test_binary_entropy(score: float, bits: float) -> None:
    assert binary_entropy(np.array([score]))[0] == pytest.approx(bits, abs=1e-7)


def test_a_common_label_does_not_crowd_out_the_others() -> None:
    rows = [ok_row(f"/dog{i:03d}.jpg", [detection(3, 0.99, BOX)]) for i in range(50)]
    rows += [ok_row(f"/rare{i}.jpg", [detection(i, 0.3 + i / 100, BOX)]) for i in (0, 1, 2)]
    chosen = fill("highest", 6, rows).choose()
    assert len(chosen) == 6
    assert {"/rare0.jpg", "/rare1.jpg", "/rare2.jpg"} < set(names(chosen))
    assert [c.value for c in chosen] == sorted((c.value for c in chosen), reverse=True)


def test_more_labels_than_places_gives_each_place_another_label() -> None:
    rows = [
        ok_row(f"/{label_id}-{i}.jpg", [detection(label_id, 0.5 + label_id / 20 + i / 1000, BOX)])
        for label_id in range(5)
        for i in range(4)
    ]
    assert names(fill("highest", 3, rows).choose()) == ["/4-3.jpg", "/3-3.jpg", "/2-3.jpg"]


def test_the_sample_shows_every_label_it_has_room_for() -> None:
    chosen = set(names(fill("sample", 12, ROWS).choose()))
    shown = {d["label"] for row in ROWS if row["uri"] in chosen for d in row["detections"]}
    assert shown == set(LABELS[:5])
    assert len(chosen) == 12


def test_empty_and_failed_hold_only_their_kind_and_each_reason() -> None:
    by_uri = {row["uri"]: row for row in ROWS}
    empty = [by_uri[uri] for uri in names(fill("empty", 8, ROWS).choose())]
    assert len(empty) == 8
    assert all(row["status"] == "ok" and row["detections"] == [] for row in empty)
    failed = [by_uri[uri] for uri in names(fill("failed", 8, ROWS).choose())]
    assert all(row["status"] != "ok" for row in failed)
    assert {row["error_code"] for row in failed} == {r["error_code"] for r in ROWS if r["status"] != "ok"}


@pytest.mark.parametrize("name", DEFAULT_SIZES)
@pytest.mark.parametrize("batch_rows", [1, 13])
def test_the_cut_into_batches_changes_nothing(name: ShelfName, batch_rows: int) -> None:
    assert fill(name, 9, ROWS, batch_rows=batch_rows).choose() == fill(name, 9, ROWS).choose()


@pytest.mark.parametrize("name", DEFAULT_SIZES)
def test_order_and_merging_change_nothing(name: ShelfName) -> None:
    rows = ROWS[:]
    random.Random(3).shuffle(rows)
    left, right = fill(name, 9, rows[:120]), fill(name, 9, rows[120:])
    right.merge(left)
    assert names(right.choose()) == names(fill(name, 9, ROWS).choose())


@pytest.mark.parametrize("name", DEFAULT_SIZES)
def test_no_image_appears_twice_and_none_when_there_are_no_rows(name: ShelfName) -> None:
    chosen = names(fill(name, 30, ROWS).choose())
    assert len(set(chosen)) == len(chosen) <= 30
    assert fill(name, 30, []).choose() == []


def test_candidates_say_where_their_row_is() -> None:
    for candidate in fill("highest", 5, ROWS, batch_rows=7).choose():
        assert ROWS[candidate.row]["uri"] == candidate.uri


def test_ties_are_settled_by_location() -> None:
    rows = [ok_row(f"/{name}.jpg", [detection(0, 0.5, BOX)]) for name in "cab"]
    assert names(fill("highest", 2, rows).choose()) == ["/a.jpg", "/b.jpg"]


def test_only_failures_leave_the_other_shelves_empty() -> None:
    rows = [failed_row("/x.jpg", "read", "missing", "gone")]
    assert fill("highest", 3, rows).choose() == fill("uncertain", 3, rows).choose() == []
    assert names(fill("failed", 3, rows).choose()) == ["/x.jpg"]


def test_a_shelf_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Shelf("highest", 0)


def film(uri: str, scores: list[float]) -> list[dict[str, Any]]:
    """Rows of a video's frames."""
    return [frame_row(uri, i, i / 25, [detection(0, score, BOX)]) for i, score in enumerate(scores)]


def test_of_neighbouring_frames_the_best_is_shown() -> None:
    scores = [0.5 + i % FRAMES_A_SPOT / 1000 for i in range(3 * FRAMES_A_SPOT)]
    chosen = fill("highest", 8, film("/a.mp4", scores) + film("/b.mp4", [0.1] * 9)).choose()
    last = FRAMES_A_SPOT - 1
    frames = [(c.uri, c.frame) for c in chosen]
    assert frames == [("/a.mp4", last + k * FRAMES_A_SPOT) for k in range(3)] + [("/b.mp4", 0)]


@pytest.mark.parametrize("name", DEFAULT_SIZES)
def test_frames_are_chosen_alike_in_any_order(name: ShelfName) -> None:
    scores = np.random.default_rng(5)
    rows = [row for uri in ("/a.mp4", "/b.mp4") for row in film(uri, scores.random(900).tolist())]
    rows += [frame_row("/empty.mp4", i, None, []) for i in range(400)]
    rows += [failed_row(f"/{i}.jpg", "read", "missing", "gone") for i in range(9)]
    whole = fill(name, 7, rows).choose()
    assert len({candidate.spot for candidate in whole}) == len(whole) == 7
    random.Random(3).shuffle(rows)
    left, right = fill(name, 7, rows[:800], batch_rows=13), fill(name, 7, rows[800:])
    right.merge(left)
    assert [(c.uri, c.frame) for c in right.choose()] == [(c.uri, c.frame) for c in whole]
