"""Planning: what is taken, how it is cut, and what a job's name depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jobs.plan import (
    MAX_FILES,
    MAX_IMAGES_PER_UNIT,
    MAX_UNIT_BYTES,
    Plan,
    choose_images_per_unit,
    choose_units_per_file,
    make_job_id,
    select_inputs,
)
from jobs.spec import SourceSection
from jobs.storage import ObjectInfo

ROOT = "s3://fleet/photos/"


def listed(*names: str) -> list[ObjectInfo]:
    return [ObjectInfo(ROOT + name, f"etag-{name}", 10) for name in names]


@pytest.mark.parametrize(
    ("source", "names", "taken", "skipped"),
    [
        pytest.param(
            {}, ["a.jpg", "b.PNG", "c", "d.txt"], ["a.jpg", "b.PNG", "c"], {".txt": 1}, id="default"
        ),
        pytest.param({"include": ["*.dat"]}, ["a.jpg", "b.dat"], ["b.dat"], {".jpg": 1}, id="include"),
        pytest.param(
            {"exclude": ["raw/*"]}, ["raw/a.jpg", "b.jpg"], ["b.jpg"], {"excluded": 1}, id="exclude"
        ),
        pytest.param({}, ["x.tar.gz", ".jpg"], [".jpg"], {".gz": 1}, id="a dot alone is no extension"),
    ],
)
def test_inputs_are_chosen_by_name(
    source: dict[str, list[str]], names: list[str], taken: list[str], skipped: dict[str, int]
) -> None:
    found = select_inputs(listed(*names), SourceSection(uri=ROOT, **source))
    assert found.inputs.rows(range(len(taken))).column("uri").to_pylist() == [ROOT + name for name in taken]
    assert found.skipped == skipped


def test_one_object_named_outright_is_taken_whatever_its_extension() -> None:
    found = select_inputs([ObjectInfo("/data/photo.xyz", "e", 1)], SourceSection(uri="/data/photo.xyz"))
    assert found.inputs.num_rows == 1


def test_the_digest_is_that_of_the_versions_not_of_the_chunking() -> None:
    source = SourceSection(uri=ROOT)
    one = select_inputs(listed("a.jpg", "b.jpg"), source).inputs.digest
    assert one == select_inputs(iter(listed("a.jpg", "b.jpg")), source).inputs.digest
    assert one != select_inputs(listed("a.jpg", "c.jpg"), source).inputs.digest
    other = [ObjectInfo(ROOT + "a.jpg", "other", 10), listed("b.jpg")[0]]
    assert one != select_inputs(other, source).inputs.digest


@pytest.mark.parametrize("num_inputs", [1, 7, 8, 9, 512, 513, 16_384, 1_000_000])
@pytest.mark.parametrize("canvas_bytes", [3, 320 * 320 * 3, 1333 * 1333 * 3, 2 * MAX_UNIT_BYTES])
def test_units_cover_each_input_once_within_bounds(num_inputs: int, canvas_bytes: int) -> None:
    per_unit = choose_images_per_unit(num_inputs, canvas_bytes)
    assert 1 <= per_unit <= MAX_IMAGES_PER_UNIT
    assert per_unit == 1 or per_unit * canvas_bytes <= MAX_UNIT_BYTES
    inputs = select_inputs(listed("a.jpg"), SourceSection(uri=ROOT)).inputs
    plan = Plan("job", replace(inputs, num_rows=num_inputs, num_images=num_inputs), per_unit, 3)
    rows = [plan.unit_rows(unit) for unit in range(plan.num_units)]
    assert [start for start, _ in rows] == [unit * per_unit for unit in range(plan.num_units)]
    assert sum(count for _, count in rows) == num_inputs
    assert all(count >= 1 for _, count in rows)
    units = [unit for file in range(plan.num_files) for unit in plan.units_of_file(file)]
    assert units == list(range(plan.num_units))


@pytest.mark.parametrize("num_units", [1, 64, MAX_FILES, MAX_FILES + 1, 400_000])
def test_large_jobs_have_a_bounded_number_of_files(num_units: int) -> None:
    per_file = choose_units_per_file(num_units)
    assert -(-num_units // per_file) <= MAX_FILES
    assert per_file == 1 or num_units > MAX_FILES


def test_a_job_is_named_by_everything_that_decides_its_rows() -> None:
    base = {"identity": "i", "inputs_digest": "d", "model_digests": {"weights": "w"}, "code_version": "1"}
    changes = [
        {"identity": "x"},
        {"inputs_digest": "x"},
        {"model_digests": {"weights": "x"}},
        {"code_version": "2"},
    ]
    names = {make_job_id(**{**base, **change}) for change in [{}, *changes]}  # type: ignore[arg-type]
    assert len(names) == 5
