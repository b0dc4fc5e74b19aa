"""From detections to rows: types, order, absence against emptiness, masks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from cvcore.ops.masks import decode_rle
from cvcore.types import Detections
from jobs.schemas import canvas_schema, result_schema
from jobs.stages.rows import Failure, detections_column, result_table

LABELS = ("cat", "dog")


def found(n: int, *, masks: bool = False) -> Detections:
    generator = torch.Generator().manual_seed(n)
    boxes = torch.rand(n, 4, generator=generator) * 50
    drawn = torch.rand(n, 6, 9, generator=generator) > 0.5 if masks else None
    return Detections(boxes, torch.linspace(0.9, 0.1, n), torch.arange(n) % 2, drawn)


def canvas_rows(statuses: list[str]) -> pa.Table:
    rows = [
        {"unit": 3, "uri": f"/{i}.jpg", "etag": "e", "width": 9, "height": 6, "status": status}
        | ({} if status == "ok" else {"error_code": "empty", "error": "no bytes"})
        | {"canvas": b"abc" if status == "ok" else None}
        for i, status in enumerate(statuses)
    ]
    return pa.Table.from_pylist(rows, canvas_schema(3))


def test_not_looked_at_and_nothing_found_are_different() -> None:
    column = detections_column([None, found(0), found(3), None, found(1)], labels=LABELS, masks=False)
    lists = column.to_pylist()
    assert lists[0] is None
    assert lists[1] == []
    assert lists[3] is None
    assert [len(lists[2]), len(lists[4])] == [3, 1]
    assert [d["label"] for d in lists[2]] == ["cat", "dog", "cat"]
    np.testing.assert_array_equal([d["box"] for d in lists[2]], found(3).boxes.numpy())
    np.testing.assert_array_equal([d["score"] for d in lists[2]], found(3).scores.numpy())


def test_a_unit_in_which_nothing_was_found_keeps_the_schema() -> None:
    for rows in ([None, None], [found(0)], []):
        column = detections_column(rows, labels=LABELS, masks=False)
        assert column.type == result_schema(masks=False).field("detections").type
        assert len(column) == len(rows)


def test_rows_keep_their_order_and_each_failure_its_own_reason() -> None:
    batch = canvas_rows(["ok", "decode", "ok", "ok"])
    bad = Failure("non_finite", "NaN")
    table = result_table(batch, {0: found(2), 2: bad, 3: found(0)}, labels=LABELS, masks=False)
    assert table.schema.remove(0).equals(result_schema(masks=False))
    rows = table.to_pylist()
    assert [row["uri"] for row in rows] == ["/0.jpg", "/1.jpg", "/2.jpg", "/3.jpg"]
    assert [row["status"] for row in rows] == ["ok", "decode", "infer", "ok"]
    assert [row["error_code"] for row in rows] == [None, "empty", "non_finite", None]
    assert [None if row["detections"] is None else len(row["detections"]) for row in rows] == [
        2,
        None,
        None,
        0,
    ]
    assert {row["unit"] for row in rows} == {3}


def test_masks_travel_as_coco_rle() -> None:
    table = result_table(canvas_rows(["ok"]), {0: found(2, masks=True)}, labels=LABELS, masks=True)
    detections = table.column("detections").to_pylist()[0]
    masks = found(2, masks=True).masks
    assert masks is not None
    for detection, mask in zip(detections, masks.numpy(), strict=True):
        assert detection["mask"]["size"] == [6, 9]
        np.testing.assert_array_equal(decode_rle(detection["mask"], height=6, width=9), mask)
