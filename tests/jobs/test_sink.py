"""Publishing, merging, resuming and finishing, on a local folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cvcore.errors import SpecError
from jobs.finish import finish_job
from jobs.plan import Plan, select_inputs
from jobs.progress import SilentListener
from jobs.run_folder import JobRecord, RunFolder, check_same_job, claim, load_plan, read_job
from jobs.schemas import result_schema
from jobs.sink import (
    PartSummary,
    decode_part,
    encode_part,
    merge_file,
    part_metadata,
    pending_units,
    publish,
    read_summary,
)
from jobs.spec import SourceSection
from jobs.storage import ObjectInfo, StorageError, open_store

NUM_INPUTS = 23
SCHEMA = result_schema(masks=False)


def make_plan(*, units_per_file: int) -> Plan:
    infos = [ObjectInfo(f"/in/{i:02d}.jpg", str(i), i) for i in range(NUM_INPUTS)]
    return Plan("job", select_inputs(infos, SourceSection(uri="/in")).inputs, 4, units_per_file)


def make_record(plan: Plan, *, job_id: str = "job") -> JobRecord:
    return JobRecord(
        job_id=job_id,
        identity="identity",
        model={"name": "toy", "digests": {"weights": "0" * 64}, "labels": ["a"]},
        code_version="1",
        source="/in",
        num_inputs=plan.num_inputs,
        num_units=plan.num_units,
        images_per_unit=plan.images_per_unit,
        units_per_file=plan.units_per_file,
        skipped={},
        spec={"annotate": {"min_score": 0.25}},
    )


def unit_rows(plan: Plan, unit: int) -> pa.Table:
    """Rows of a unit; every fifth input failed."""
    start, count = plan.unit_rows(unit)
    box = {"box": [0.0, 1.0, 2.0, 3.0], "label": "a", "label_id": 0, "score": 0.5}
    rows = [
        {
            "uri": f"/in/{i:02d}.jpg",
            "etag": str(i),
            "status": "decode" if i % 5 == 0 else "ok",
            "error_code": "empty" if i % 5 == 0 else None,
            "detections": None if i % 5 == 0 else [box] * (i % 3),
        }
        for i in range(start, start + count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def publish_units(
    folder: RunFolder, plan: Plan, units: list[int], *, writer: str = "w"
) -> dict[int, PartSummary]:
    store = open_store(folder.uri)
    metadata = part_metadata(make_record(plan))
    return {
        unit: publish(
            store,
            folder.unit(unit, units_per_file=plan.units_per_file),
            unit,
            unit_rows(plan, unit),
            metadata=metadata,
            writer=writer,
        )
        for unit in units
    }


def test_rows_come_back_with_their_types_and_bytes_are_reproducible() -> None:
    plan = make_plan(units_per_file=1)
    metadata = part_metadata(make_record(plan))
    body = encode_part(unit_rows(plan, 0), metadata)
    assert body == encode_part(unit_rows(plan, 0), metadata)
    back = decode_part(body)
    assert back.equals(unit_rows(plan, 0))
    assert back.schema.remove_metadata().equals(SCHEMA)
    assert json.loads(back.schema.metadata[b"veedor.model"])["name"] == "toy"


def test_a_part_that_is_read_back_counts_what_was_published(tmp_path: Path) -> None:
    folder, plan = RunFolder(str(tmp_path)), make_plan(units_per_file=1)
    published = publish_units(folder, plan, [0, 1, 2])
    assert {summary.found for summary in published.values()} != {0}
    for unit, summary in published.items():
        assert read_summary(open_store(folder.uri), folder.file(unit), unit, rows=summary.rows) == summary


def test_the_first_publication_of_a_unit_stands(tmp_path: Path) -> None:
    folder, plan = RunFolder(str(tmp_path)), make_plan(units_per_file=1)
    first = publish_units(folder, plan, [0], writer="a")[0]
    other = unit_rows(plan, 0).set_column(1, "etag", pa.array(["x"] * 4))
    store = open_store(folder.uri)
    second = publish(store, folder.file(0), 0, other, metadata={}, writer="b")
    assert second == first
    assert decode_part(store.read(folder.file(0))).column("etag").to_pylist() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("units_per_file", [1, 2, 4, 100])
def test_any_order_of_publication_and_merging_ends_the_same(tmp_path: Path, units_per_file: int) -> None:
    plan = make_plan(units_per_file=units_per_file)
    record = make_record(plan)
    results = []
    for name, order in (("forward", range(plan.num_units)), ("backward", reversed(range(plan.num_units)))):
        folder = RunFolder(str(tmp_path / name))
        store = open_store(folder.uri)
        for unit in order:
            assert unit in pending_units(plan, folder, store)
            publish_units(folder, plan, [unit])
            assert unit not in pending_units(plan, folder, store)
        for file in [] if units_per_file == 1 else [*range(plan.num_files), 0]:
            merge_file(store, folder, plan, file, metadata=part_metadata(record), writer="m")
        manifest = finish_job(folder, store, plan, record, {}, writer="w", listener=SilentListener())
        assert manifest["counts"] == {
            "inputs": 23,
            "ok": 18,
            "failed": 5,
            "images": 23,
            "videos": 0,
            "detections": 17,
        }
        assert manifest["failures"] == {"empty": 5}
        assert store.list_names(folder.parts) == []
        assert pending_units(plan, folder, store) == []
        results.append((manifest, [store.read(folder.file(f)) for f in range(plan.num_files)]))
        assert pq.read_table(tmp_path / name / "data").column("uri").to_pylist() == sorted(
            f"/in/{i:02d}.jpg" for i in range(NUM_INPUTS)
        )
    assert results[0] == results[1]


def test_readers_see_nothing_of_a_file_before_all_its_units_are_there(tmp_path: Path) -> None:
    folder, plan = RunFolder(str(tmp_path)), make_plan(units_per_file=3)
    publish_units(folder, plan, [0, 1])
    store = open_store(folder.uri)
    assert store.list_names(folder.data) == []
    with pytest.raises(StorageError, match="there is no file"):
        merge_file(store, folder, plan, 0, metadata={}, writer="m")
    assert store.list_names(folder.data) == []


def test_a_file_whose_units_another_driver_has_removed_is_read_back(tmp_path: Path) -> None:
    folder, plan = RunFolder(str(tmp_path)), make_plan(units_per_file=3)
    record, store = make_record(plan), open_store(str(tmp_path))
    publish_units(folder, plan, list(range(plan.num_units)))
    for file in range(plan.num_files):
        merge_file(store, folder, plan, file, metadata=part_metadata(record), writer="m")
    finish_job(folder, store, plan, record, {}, writer="m", listener=SilentListener())
    assert store.list_names(folder.parts) == []
    late = merge_file(store, folder, plan, 0, metadata=part_metadata(record), writer="late")
    assert (late.rows, late.failures) == (12, {"empty": 3})


@pytest.mark.parametrize("damage", ["missing", "short", "not parquet"])
def test_finishing_refuses_what_does_not_match_the_plan(tmp_path: Path, damage: str) -> None:
    folder, plan = RunFolder(str(tmp_path)), make_plan(units_per_file=1)
    publish_units(folder, plan, list(range(plan.num_units)))
    store = open_store(folder.uri)
    store.delete(folder.file(2))
    if damage == "short":
        store.put(folder.file(2), encode_part(unit_rows(plan, 2).slice(1), {}))
    elif damage == "not parquet":
        store.put(folder.file(2), b"PAR1 and nonsense")
    with pytest.raises(StorageError, match=r"part-00002\.parquet"):
        finish_job(folder, store, plan, make_record(plan), {}, writer="w", listener=SilentListener())
    assert not store.exists(folder.success)


def test_the_first_claim_of_a_folder_stands(tmp_path: Path) -> None:
    folder, plan = RunFolder(str(tmp_path)), make_plan(units_per_file=1)
    store = open_store(folder.uri)
    mine = make_record(plan)
    assert read_job(folder, store) is None
    assert claim(folder, store, mine, plan.inputs, writer="a") == mine
    assert claim(folder, store, mine, plan.inputs, writer="b") == mine
    assert claim(folder, store, make_record(plan, job_id="other"), plan.inputs, writer="c") == mine
    assert read_job(folder, store) == mine
    assert load_plan(folder, store, mine) == Plan("job", plan.inputs, 4, 1)
    assert sorted(p.name for p in (tmp_path / "_veedor").iterdir()) == ["job.json", "plan-job.parquet"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"spec": {"annotate": {"min_score": 0.5}}, "identity": "x"},
            r"min_score was 0\.25 and is 0\.5",
        ),
        ({"model": {"name": "toy", "digests": {"weights": "f" * 64}}}, "the model was toy .* and is toy"),
        ({"code_version": "2"}, "the version of veedor was 1 and is 2"),
    ],
)
def test_another_jobs_folder_is_refused_saying_what_differs(change: dict[str, object], message: str) -> None:
    record = make_record(make_plan(units_per_file=1))
    now = {"identity": "identity", "spec": record.spec, "model": record.model, "code_version": "1"}
    check_same_job(record, **now)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=message):
        check_same_job(record, **{**now, **change})  # type: ignore[arg-type]


def test_a_folder_with_foreign_results_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.parquet").write_bytes(b"x")
    with pytest.raises(SpecError, match="no job of ours"):
        read_job(RunFolder(str(tmp_path)), open_store(str(tmp_path)))
