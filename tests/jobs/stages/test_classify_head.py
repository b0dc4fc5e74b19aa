from __future__ import annotations

import math

import pyarrow as pa
import pytest
import torch

from cvcore.classify.darknet import build_darknet_classifier
from cvcore.image.fit import plan_fit
from jobs.schemas import ROW_FIELDS, canvas_schema, classify_schema
from jobs.sink import encode_part, read_summary, summarize
from jobs.stages.classify_head import ClassifyHead, Told
from jobs.stages.rows import NON_FINITE
from jobs.stages.tasks import ClassifyTask
from jobs.storage.local import LocalStore

LABELS = ("bolt", "gear", "nut")


def make_head(top_k: int) -> ClassifyHead:
    torch.manual_seed(0)
    model = build_darknet_classifier(LABELS, version="darknet19", input_size=64, width=0.05)
    return ClassifyHead(model, ClassifyTask(top_k))


def decoded(count: int) -> pa.Table:
    rows = [
        {
            "unit": 3,
            "uri": f"/{i}.jpg",
            "etag": "e",
            "width": 9,
            "height": 6,
            "status": "ok",
            "canvas": b"abc",
        }
        for i in range(count - 1)
    ]
    rows.append(
        {"unit": 3, "uri": "/bad.jpg", "etag": "e", "status": "decode", "error_code": "empty", "error": "no"}
    )
    return pa.Table.from_pylist(rows, canvas_schema(3))


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (2, 2), (9, 3)], ids=["one", "two", "all"])
def test_the_likeliest_labels_come_first_with_their_probabilities(top_k: int, expected: int) -> None:
    head = make_head(top_k)
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    fits = [plan_fit(6, 9, head.input_spec)] * 2
    with torch.inference_mode():
        raw = head.compute(images, fits)
        logits = head.model(head.model.preprocess(images))
    torch.testing.assert_close(raw, torch.softmax(logits, dim=1))
    rows = head.table(decoded(3), dict(enumerate(head.finish(raw, fits)))).column("labels").to_pylist()
    assert rows[2] is None
    for row, probabilities in zip(rows[:2], raw.tolist(), strict=True):
        best = sorted(range(3), key=lambda k: -probabilities[k])[:expected]
        assert [each["label_id"] for each in row] == best
        assert [each["label"] for each in row] == [LABELS[k] for k in best]
        assert [each["score"] for each in row] == pytest.approx([probabilities[k] for k in best])


def test_what_is_not_finite_is_a_failure_and_no_label() -> None:
    head = make_head(2)
    found = head.finish(torch.tensor([[0.2, 0.5, 0.3], [math.nan] * 3]), [])
    assert found[0] == Told([1, 2], [pytest.approx(0.5), pytest.approx(0.3)])
    assert found[1] is NON_FINITE
    table = head.table(decoded(3), dict(enumerate(found)))
    assert table.column("status").to_pylist() == ["ok", "infer", "decode"]
    assert table.column("error_code").to_pylist() == [None, "non_finite", "empty"]
    assert table.column("labels").is_null().to_pylist() == [False, True, True]
    assert table.drop(["unit"]).schema.equals(classify_schema())
    assert table.column_names[1:] == [*(field.name for field in ROW_FIELDS), "labels"]


def test_rows_are_counted_when_written_and_when_read_back(tmp_path: object) -> None:
    head = make_head(2)
    told = head.finish(torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]), [])
    rows = head.table(decoded(3), dict(enumerate(told))).drop(["unit"])
    body = encode_part(rows, {})
    summary, store = summarize(0, rows, body), LocalStore()
    assert (summary.found, summary.failed, summary.kind) == (2, 1, "classified")
    store.put(f"{tmp_path}/part.parquet", body)
    assert read_summary(store, f"{tmp_path}/part.parquet", 0, rows=3) == summary
