"""Queues without what is alike, and queues by what two runs disagree about."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from cvcore.errors import SpecError
from jobs.agreement import compare_found
from jobs.export.distinct import first_distinct
from jobs.export.export import export_run
from jobs.export.options import Options
from jobs.export.queue import Entry, Queued, choose, doubt
from jobs.schemas import embed_schema
from jobs.sink import encode_part
from jobs.storage import Access
from tests.cluster.test_cli_mistakes import check_refused
from tests.cluster.test_cli_mistakes import run as veedor
from tests.exchange import make_rows, write_run
from tests.jobs.test_compare_runs import altered, as_found, two_runs

NUM = 30


def slow_distinct(vectors: np.ndarray[Any, Any], above: float, limit: int) -> list[int]:
    """The rule, word by word."""
    kept: list[int] = []
    for row, vector in enumerate(vectors):
        if len(kept) < limit and all(
            not vector @ vectors[k] >= above * np.linalg.norm(vector) * np.linalg.norm(vectors[k])
            for k in kept
        ):
            kept.append(row)
    return kept


@pytest.mark.parametrize("limit", [1, 5, 100])
@pytest.mark.parametrize("above", [0.3, 0.9, 1.0])
def test_it_takes_what_the_rule_takes(limit: int, above: float) -> None:
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(60, 4)).astype(np.float32)
    vectors[20:40] = vectors[:20] * rng.uniform(0.5, 2, (20, 1))
    kept, alike = first_distinct(vectors, above=above - 1e-6, limit=limit)
    assert kept == slow_distinct(vectors.astype(np.float64), above - 1e-6, limit)
    assert len(alike) == len(kept)
    if limit == 100:
        assert sum(alike) + len(kept) == 60


def test_images_without_an_embedding_are_like_nothing() -> None:
    vectors = np.array([[1, 0], [np.nan, np.nan], [np.nan, np.nan], [2, 0], [0, 0], [0, 0]], np.float32)
    assert first_distinct(vectors, above=0.5, limit=9) == ([0, 1, 2, 4, 5], [1, 0, 0, 0, 0])
    assert first_distinct(np.zeros((0, 3), np.float32), above=0.5, limit=9) == ([], [])


def test_it_looks_further_until_there_are_enough() -> None:
    entries = [Entry(1 - k / 1000, 0.0, k, f"{k}", -1) for k in range(1000)]
    tries: list[int] = []

    def every_hundredth(first: Any, limit: int) -> list[Queued]:
        tries.append(len(first))
        return [Queued(entry, 99) for entry in first if entry.ordinal % 100 == 0][:limit]

    found = choose(lambda: iter(entries), limit=5, distinct=every_hundredth)
    assert [queued.entry.ordinal for queued in found] == [0, 100, 200, 300, 400]
    assert tries == [20, 80, 320, 1000]
    assert len(choose(lambda: iter(entries), limit=50, distinct=every_hundredth)) == 10


def embed_run(folder: Path, rows: list[dict[str, Any]], vectors: np.ndarray[Any, Any]) -> Path:
    """A run of an embed job, one image failed."""
    run = write_run(folder / "embedded", [dict(row) for row in rows], parts=1)
    record = json.loads((run / "_veedor" / "job.json").read_text()) | {"job": "embed"}
    (run / "_veedor" / "job.json").write_text(json.dumps(record))
    schema = embed_schema(vectors.shape[1])
    content = [
        {name: row.get(name) for name in schema.names[:-1]}
        | {"embedding": None if row["detections"] is None else vector.tolist()}
        for row, vector in zip(rows, vectors, strict=True)
    ]
    table = pa.Table.from_pylist(content, schema=schema)
    (run / "data" / "part-00000.parquet").write_bytes(encode_part(table, {}))
    return run


def queue(run: Path, out: Path, **options: Any) -> list[dict[str, str]]:
    export_run(str(run), to="coco", out=str(out), access=Access(), options=Options(**options))
    with (out / "queue.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_queue_leaves_out_what_is_alike(tmp_path: Path) -> None:
    (tmp_path / "embedded").mkdir()
    rows = make_rows(tmp_path, num=NUM)
    vectors = np.eye(NUM, dtype=np.float32)[np.arange(NUM) // 6]
    embedded = embed_run(tmp_path, rows, vectors)
    run = write_run(tmp_path, rows)
    found = queue(
        run,
        tmp_path / "out",
        order="uncertain",
        limit=5,
        dedup=0.95,
        embeddings=str(embedded),
    )
    looked = [(k, row) for k, row in enumerate(rows) if row["detections"] is not None]
    looked.sort(key=lambda item: -doubt(each["score"] for each in item[1]["detections"]))
    expected: list[str] = []
    groups: set[int] = set()
    for k, row in looked:
        if k // 6 not in groups and len(expected) < 5:
            groups.add(k // 6)
            expected.append(row["uri"])
    assert [each["uri"] for each in found] == expected
    manifest = json.loads((tmp_path / "out" / "veedor.json").read_text())
    assert manifest["dedup"]["above"] == 0.95
    assert manifest["dedup"]["alike"] == sum(int(each["alike"]) for each in found) > 0


def test_the_queue_of_two_runs_begins_with_what_they_disagree_about(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=NUM, seed=3)
    others = altered(rows)[1:]
    one, other = two_runs(tmp_path, rows, others)
    found = queue(one, tmp_path / "out", order="disagreement", other=str(other), limit=6)
    apart = {
        a["uri"]: compare_found(as_found(a), as_found(b)).disagreement
        for a, b in zip(rows[1:], others, strict=True)
        if a["detections"] is not None
    }
    assert [float(each["priority"]) for each in found] == pytest.approx(sorted(apart.values())[:-7:-1])
    assert [apart[each["uri"]] for each in found] == pytest.approx([float(e["priority"]) for e in found])
    manifest = json.loads((tmp_path / "out" / "veedor.json").read_text())
    assert (manifest["with"], manifest["not_in_other"]) == (str(other), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "disagreement", "limit": 3}, "name it with --with"),
        ({"order": "random", "limit": 3, "other": "x"}, "say --order disagreement"),
        ({"dedup": 0.9}, "name its order with --order"),
        ({"order": "random", "limit": 3, "dedup": 1.5}, "a cosine from above 0 to 1, not 1.5"),
        ({"order": "random", "limit": 3, "dedup": 0.9}, "holds no embeddings: name a run of veedor embed"),
        ({"order": "random", "limit": 3, "embeddings": "x"}, "with --dedup"),
        (
            {"order": "disagreement", "limit": 3, "other": "x", "corrections": "only"},
            "leave --corrections only out",
        ),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    run = write_run(tmp_path, make_rows(tmp_path))
    with pytest.raises(SpecError, match=words):
        queue(run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_embeddings_of_other_images(tmp_path: Path) -> None:
    rows = make_rows(tmp_path, num=4)
    (tmp_path / "embedded").mkdir()
    others = [row | {"uri": row["uri"] + "x"} for row in rows]
    embedded = embed_run(tmp_path, others, np.eye(4, dtype=np.float32))
    run = write_run(tmp_path, rows)
    command = ("--format", "coco", "--order", "random", "--limit", "2", "--dedup", "0.9")
    refused = veedor("export", run, *command, "--embeddings", embedded, "--out", tmp_path / "out")
    check_refused(refused, tmp_path / "out", "has an embedding of none of these images")
