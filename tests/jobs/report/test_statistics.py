"""Statistics against brute force over the rows, however they are cut and in whatever order they merge."""

from __future__ import annotations

import random
from collections import Counter
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.report.rows import decode_batch, iter_batches
from jobs.report.statistics import (
    COUNT_EDGES,
    SCORE_EDGES,
    SIDE_EDGES,
    Histogram,
    Statistics,
    measure,
)
from jobs.schemas import result_schema
from tests.jobs.report.fabricate import LABELS, detection, ok_row, part_bytes, random_rows

ROWS = random_rows(7, 400)


def measure_rows(rows: list[dict[str, Any]], *, batch_rows: int = 4096) -> Statistics:
    batches = iter_batches(part_bytes(rows), batch_rows=batch_rows)
    return reduce(Statistics.merge, map(measure, batches), Statistics())


def all_detections(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [found for row in rows for found in row["detections"] or ()]


def numpy_histogram(values: Any, edges: tuple[float, ...], top: float) -> list[int]:
    return np.histogram(np.asarray(values, np.float64), bins=[*edges, top])[0].tolist()


def test_counts_agree_with_the_rows() -> None:
    found = measure_rows(ROWS)
    ok = [row for row in ROWS if row["status"] == "ok"]
    assert (found.num_inputs, found.num_ok, found.num_failed) == (len(ROWS), len(ok), len(ROWS) - len(ok))
    assert found.num_detections == len(all_detections(ROWS))
    assert found.extent is not None
    assert found.extent.max_width == max(row["width"] for row in ok)
    assert found.extent.min_height == min(row["height"] for row in ok)


def test_histograms_agree_with_numpy() -> None:
    found = measure_rows(ROWS)
    ok = [row for row in ROWS if row["status"] == "ok"]
    scores = [np.float32(d["score"]) for d in all_detections(ROWS)]
    boxes = np.array([d["box"] for d in all_detections(ROWS)], np.float32)
    sides = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    assert list(found.scores.counts) == numpy_histogram(scores, SCORE_EDGES, 1.01)
    numbers = [len(row["detections"]) for row in ok]
    assert list(found.detections_per_image.counts) == numpy_histogram(numbers, COUNT_EDGES, 1e9)
    assert list(found.box_sides_px.counts) == numpy_histogram(np.sqrt(sides.prod(axis=1)), SIDE_EDGES, 1e9)
    longer = [max(row["width"], row["height"]) for row in ok]
    assert list(found.image_sides_px.counts) == numpy_histogram(longer, SIDE_EDGES, 1e9)


def test_labels_agree_with_the_rows() -> None:
    found = measure_rows(ROWS)
    detections = Counter(d["label"] for d in all_detections(ROWS))
    images = Counter(label for row in ROWS for label in {d["label"] for d in row["detections"] or ()})
    assert {name: label.num_detections for name, label in found.labels.items()} == detections
    assert {name: label.num_images for name, label in found.labels.items()} == images
    assert {name: label.label_id for name, label in found.labels.items()} == {
        n: LABELS.index(n) for n in detections
    }
    dog = [np.float32(d["score"]) for d in all_detections(ROWS) if d["label"] == "dog"]
    assert list(found.labels["dog"].scores.counts) == numpy_histogram(dog, SCORE_EDGES, 1.01)


def test_failures_agree_with_the_rows_and_keep_the_first_examples() -> None:
    found = measure_rows(ROWS)
    failed = [row for row in ROWS if row["status"] != "ok"]
    assert {reason: one.count for reason, one in found.failures.items()} == Counter(
        (row["status"], row["error_code"]) for row in failed
    )
    reason = ("decode", "truncated")
    uris = sorted(row["uri"] for row in failed if (row["status"], row["error_code"]) == reason)
    assert [example.uri for example in found.failures[reason].examples] == uris[:3]


@pytest.mark.parametrize("batch_rows", [1, 7, 64, 4096])
def test_batches_of_any_size_give_the_same(batch_rows: int) -> None:
    assert measure_rows(ROWS, batch_rows=batch_rows) == measure_rows(ROWS)


@pytest.mark.parametrize("seed", range(5))
def test_merging_in_any_order_and_grouping_gives_the_same(seed: int) -> None:
    order = random.Random(seed)
    rows = ROWS[:]
    order.shuffle(rows)
    pieces = [measure_rows(rows[i : i + 37]) for i in range(0, len(rows), 37)]
    while len(pieces) > 1:
        left = pieces.pop(order.randrange(len(pieces)))
        right = pieces.pop(order.randrange(len(pieces)))
        pieces.append(left.merge(right))
    assert pieces[0] == measure_rows(ROWS)


def test_no_rows_are_the_identity() -> None:
    found = measure_rows(ROWS)
    assert measure_rows([]) == Statistics()
    assert found.merge(Statistics()) == found
    assert Statistics().merge(found) == found
    assert Statistics().scores.total == 0


def test_no_value_is_lost_beyond_the_edges() -> None:
    histogram = Histogram.of(np.array([-5.0, 0.0, 0.999, 1.0, 7.0]), SCORE_EDGES)
    assert histogram.counts[0] == 2
    assert histogram.counts[-1] == 3
    assert histogram.total == 5


def test_histograms_with_other_edges_do_not_add() -> None:
    with pytest.raises(ValueError, match="other edges"):
        Histogram.empty(SCORE_EDGES).merge(Histogram.empty(SIDE_EDGES))


def test_values_that_are_not_finite_and_null_labels_do_not_spoil_the_rest() -> None:
    odd = detection(0, float("nan"), (float("nan"), 0, 5, float("inf"))) | {"label": None}
    found = measure_rows([ok_row("/a.jpg", [odd, detection(3, 0.92, (0, 0, 10, 10))])])
    assert found.num_detections == 2
    assert found.labels["dog"].scores.counts[18] == 1
    assert found.labels[""].scores.counts[0] == 1


def test_columns_a_job_does_not_make_read_as_absent() -> None:
    table = pa.table({"uri": ["/a.jpg"], "status": ["ok"]})
    batch = decode_batch(table.to_batches()[0])
    assert measure(batch).num_ok == 1
    assert measure(batch).num_detections == 0


def test_masks_are_left_out_of_the_pass_over_the_rows() -> None:
    mask = {"size": [48, 64], "counts": "x" * 100}
    rows = [ok_row("/a.jpg", [detection(1, 0.5, (0, 0, 8, 8), mask=mask)]), ok_row("/b.jpg", [])]
    body = part_bytes(rows, masks=True)
    assert "mask" in str(result_schema(masks=True).field("detections").type)
    (batch,) = iter_batches(body)
    assert measure(batch) == measure_rows([row | {"detections": _without_masks(row)} for row in rows])


def _without_masks(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [{k: v for k, v in found.items() if k != "mask"} for found in row["detections"]]
