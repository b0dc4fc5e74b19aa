"""Drivers that sleep past another's finish, and different jobs in one folder: one result, no mixture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.corpus import good_image
from tests.faults.conftest import RUN_TIMEOUT_S, ToyJob, local_job
from tests.faults.drivers import Driver, wait_until
from tests.faults.numbered import Book, Harm
from tests.faults.record import full, record
from tests.faults.results import Result, differences, published, read_result, rewritten

NUM_IMAGES = 10
FINISHED_BEFORE = "Another driver had finished this job before"
# Just before, or just after, the first call of a method on an object of a name.
POINTS = {
    "before its claim": ("before", "create", "job.json"),
    "after its claim": ("after", "create", "job.json"),
    "in a unit": ("before", "create", "part-00002.parquet"),
    "in a merge": ("before", "read", "part-00001.parquet"),
    "before its success": ("before", "create", "_SUCCESS.json"),
    "after its success": ("after", "create", "_SUCCESS.json"),
}


@dataclass(frozen=True)
class Known:
    """A job, its undisturbed result, and the storage calls of that run."""

    job: ToyJob
    expected: Result
    book: Book

    def stop_at(self, point: str) -> Harm:
        moment, method, name = POINTS[point]
        return Harm(self.book.number_of(method, name), moment, "stop")  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[*[1] * full(), 2], ids="{} units a file".format)
def known(request: pytest.FixtureRequest, address: str, tmp_path_factory: pytest.TempPathFactory) -> Known:
    sink = {"images_per_unit": 2, "units_per_file": request.param}
    job = local_job(tmp_path_factory.mktemp("zombies"), NUM_IMAGES, **sink)
    return Known(job, *job.undisturbed(address))


def stopped(known: Known, out: str, point: str, address: str | None) -> Driver:
    """A driver that stands still at a point, its workers with it."""
    driver = known.job.start(out, address=address, harm=known.stop_at(point))
    wait_until(driver.is_stopped, within_s=RUN_TIMEOUT_S, what=f"a stop {point}")
    return driver


@pytest.mark.parametrize("embedded", [False, *[True] * full()], ids=lambda e: "embedded" if e else "shared")
@pytest.mark.parametrize("point", POINTS)
def test_a_driver_that_slept_past_the_others_finish_changes_nothing(
    known: Known, point: str, embedded: bool, address: str
) -> None:
    units_per_file = known.job.sink["units_per_file"]
    if units_per_file == 1 and point == "in a merge":
        pytest.skip("files of one unit are not merged")
    where = None if embedded else address
    out = known.job.new_out()
    sleeper = stopped(known, out, point, where)
    other = known.job.run(out, address=where)
    assert other.code == 0, other.output
    assert differences(known.expected, read_result(out)) == []
    before = published(out)
    sleeper.resume()
    ending = sleeper.wait(RUN_TIMEOUT_S)
    wrong = rewritten(before, published(out)) + differences(known.expected, read_result(out))
    cluster = "its cluster with it" if embedded else "on a shared cluster"
    record(
        f"sleeping driver, {units_per_file} units a file, {point}, {cluster}",
        attack="SIGSTOP, another driver finishes, SIGCONT",
        trials=1,
        differences=len(wrong),
        failures=int(ending.code != 0),
    )
    assert wrong == []
    assert ending.code == 0, ending.output
    if point != "after its success":
        assert FINISHED_BEFORE in ending.output
    assert ending.last_event["counts"] == known.expected.manifest["counts"]


def test_of_two_different_jobs_for_one_folder_one_is_refused(known: Known, address: str) -> None:
    out = known.job.new_out()
    jobs = [replace(known.job, annotate={"min_score": score}) for score in (0.25, 0.5)]
    endings = [d.wait(RUN_TIMEOUT_S) for d in [job.start(out, address=address) for job in jobs]]
    assert sorted(ending.code for ending in endings) == [0, 2], [e.output for e in endings]
    loser = next(ending for ending in endings if ending.code == 2)
    assert "annotate.min_score was" in loser.last_event["message"]
    found = read_result(out)
    assert found.job_ids == {found.manifest["job_id"].encode()}
    winner = next(ending for ending in endings if ending.code == 0)
    assert winner.last_event["job_id"] == found.manifest["job_id"]


def test_a_job_that_wakes_up_in_anothers_folder_is_refused(known: Known, address: str) -> None:
    out = known.job.new_out()
    late = stopped(known, out, "before its claim", address)
    first = replace(known.job, annotate={"min_score": 0.5}).run(out, address=address)
    assert first.code == 0, first.output
    before = published(out)
    late.resume()
    ending = late.wait(RUN_TIMEOUT_S)
    assert ending.code == 2, ending.output
    assert "annotate.min_score was 0.5 and is 0.25" in ending.last_event["message"]
    assert rewritten(before, published(out)) == []
    plans = list(Path(out, "_veedor").glob("plan-*"))
    assert len(plans) == 1, "the refused job's plan is left behind"


def test_a_driver_that_listed_another_state_of_the_source_takes_up_the_claimed_plan(
    address: str, tmp_path: Path
) -> None:
    job = local_job(tmp_path, NUM_IMAGES, images_per_unit=2)
    expected, book = job.undisturbed(address)
    out = job.new_out()
    late = stopped(Known(job, expected, book), out, "before its claim", address)
    (tmp_path / "in" / "new.jpg").write_bytes(good_image(99))
    first = job.run(out, address=address)
    assert first.code == 0, first.output
    before = published(out)
    late.resume()
    ending = late.wait(RUN_TIMEOUT_S)
    assert ending.code == 0, ending.output
    assert "its stored plan of 11 inputs" in ending.output
    found = read_result(out)
    assert found.manifest["counts"]["inputs"] == NUM_IMAGES + 1
    assert found.job_ids == {found.manifest["job_id"].encode()}
    assert rewritten(before, published(out)) == []
