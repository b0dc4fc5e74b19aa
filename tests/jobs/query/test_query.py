"""SQL over runs: the same figures as the rows have, and no way to anything else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from cvcore.errors import SpecError
from jobs.query.session import open_query
from jobs.query.views import ROWS, run_views
from jobs.schemas import classify_schema, segment_schema
from jobs.storage import Access
from tests.cluster.test_cli_mistakes import run as veedor
from tests.conftest import point_at
from tests.exchange import make_rows, write_run
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, make_rows(tmp_path, masks=True), masks=True)


def ask(run: Path | str, sql: str) -> list[tuple[object, ...]]:
    return list(open_query(str(run), access=Access()).ask(sql).rows)


def test_detections_are_counted_as_the_rows_hold_them(run: Path, tmp_path: Path) -> None:
    rows = make_rows(tmp_path, masks=True)
    expected = Counter(found["label"] for row in rows for found in row["detections"] or ())
    assert dict(ask(run, "select label, count(*) from detections group by 1")) == expected


def test_a_box_is_four_columns_and_has_its_place_in_the_image(run: Path, tmp_path: Path) -> None:
    rows = make_rows(tmp_path, masks=True)
    found = ask(run, "select uri, number, x0, y0, x1, y1, score, mask.size from detections")
    expected = [
        (row["uri"], number, *each["box"], each["score"], each["mask"]["size"])
        for row in rows
        for number, each in enumerate(row["detections"] or ())
    ]
    assert sorted((*row[:-1], list(row[-1])) for row in found) == sorted(expected)  # type: ignore[call-overload]


def test_labels_and_classes_are_rows_of_their_own() -> None:
    row = {"uri": "a.png", "status": "ok"}
    labels = [{"label": "cat", "label_id": 1, "score": 0.75}, {"label": "dog", "label_id": 0, "score": 0.25}]
    classes = [{"label": "cell", "label_id": 1, "pixels": 12}]
    for schema, name, given in (
        (classify_schema(), "labels", labels),
        (segment_schema(), "classes", classes),
    ):
        rows = pa.Table.from_pylist(
            [row | {name: given}, {"uri": "b.png", "status": "decode"}], schema=schema
        )
        views = run_views(schema, ())
        with duckdb.connect() as database:
            database.register(ROWS, rows)
            found = database.sql(views[name])
            assert found.columns[:3] == ["uri", "frame_index", "number"]
            assert found.columns[3:] == list(given[0])
            assert [line[3:] for line in found.fetchall()] == [tuple(each.values()) for each in given]
            counted = database.sql(f"select uri, num_{name} from ({views['images']})").fetchall()
        assert counted == [("a.png", len(given)), ("b.png", None)]


def test_empty_and_failed_are_two_things(run: Path) -> None:
    found = ask(run, "select num_detections, status, count(*) from images group by all order by all")
    assert found == [(0, "ok", 1), (3, "ok", 5), (None, "decode", 1)]
    assert ask(run, "select error_code from failures") == [("truncated",)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        pytest.param("select nope from detections", "images: uri, etag", id="no such column"),
        pytest.param("select * from boxes", "detections: uri", id="no such view"),
        pytest.param("selekt 1", "failures: uri", id="no SQL"),
        pytest.param("drop view images", "one SELECT", id="a change"),
        pytest.param("select 1; select 2", "one SELECT", id="two statements"),
        pytest.param("", "one SELECT", id="nothing"),
        pytest.param("copy images to 'x.csv'", "one SELECT", id="a copy"),
        pytest.param("set enable_external_access = true", "one SELECT", id="a setting"),
        pytest.param("select * from read_text('/etc/passwd')", "disabled", id="another file"),
        pytest.param("select * from glob('/etc/*')", "disabled", id="a folder"),
        pytest.param("select * from '/etc/passwd'", "does not exist", id="a file as a table"),
        pytest.param("select * from read_parquet('s3://a/b')", "disabled", id="a bucket"),
        pytest.param("select error::int from failures", "Could not convert", id="fails while it runs"),
    ],
)
def test_what_is_refused(run: Path, sql: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ask(run, sql)


def test_python_variables_are_no_tables(run: Path) -> None:
    secrets = [1, 2]
    with pytest.raises(SpecError, match="secrets does not exist"):
        ask(run, "select * from secrets")
    assert secrets


def test_a_run_without_tracks_has_no_view_of_them(run: Path) -> None:
    assert "tracks" not in open_query(str(run), access=Access()).views


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is not a run"):
        ask(tmp_path, "select 1")


def test_a_run_in_a_bucket(run: Path, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(moto_s3, monkeypatch)
    bucket = new_bucket(moto_s3)
    files = {f"run/{p.relative_to(run)}": p.read_bytes() for p in run.rglob("*") if p.is_file()}
    upload(moto_s3, bucket, files)
    location = f"s3://{bucket}/run"
    sql = "select label, count(*), avg(score) from detections group by 1 order by 1"
    assert ask(location, sql) == ask(run, sql)


def test_the_command_prints_tables_json_and_csv(run: Path) -> None:
    sql = "select status, count(*) as num from images group by 1 order by 1"
    table = veedor("query", run, sql)
    assert [line.split() for line in table.output.splitlines() if "ok" in line] == [["ok", "6"]]
    as_json = veedor("query", run, sql, "--json")
    assert [json.loads(line) for line in as_json.output.splitlines()][1] == {"status": "ok", "num": 6}
    assert veedor("query", run, sql, "--csv").output == "status,num\ndecode,1\nok,6\n"
    wrong = veedor("query", run, "select nope from images")
    assert wrong.exit_code == 2
    assert "num_detections" in wrong.output
