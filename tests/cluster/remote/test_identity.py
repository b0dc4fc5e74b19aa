"""Which submissions are one job, and what a second one does."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from cluster.remote.identity import (
    Attach,
    Attempt,
    JobKey,
    Start,
    Status,
    decide,
    job_key,
    parse_submission_id,
)
from jobs.catalog import JOBS
from jobs.spec import AnnotateSpec

SPEC: dict[str, Any] = {"source": {"uri": "s3://b/in"}, "sink": {"uri": "s3://b/out"}}


def key_of(version: str = "1.0", **changes: Any) -> JobKey:
    return job_key(AnnotateSpec.model_validate({**SPEC, **changes}), job="annotate", code_version=version)


@pytest.mark.parametrize("job", JOBS)
def test_names_of_submissions_come_back(job: str) -> None:
    key = JobKey(job, "0123456789ab")
    assert parse_submission_id(key.submission_id(12)) == (key, 12)


@pytest.mark.parametrize(
    "text", ["", "raysubmit_4LamXRuQpYdSMg7J", "veedor-annotate-0123456789ab", "veedor-x-y-1"]
)
def test_what_others_submitted_is_not_ours(text: str) -> None:
    assert parse_submission_id(text) is None


def test_what_changes_no_row_is_the_same_job_and_all_else_another() -> None:
    assert key_of() == key_of(resources={"actors": 3}, limits={"max_failed_fraction": 0.1})
    others = [key_of(sink={"uri": "s3://b/else"}), key_of("1.1"), key_of(annotate={"min_score": 0.5})]
    assert len({key_of(), *others}) == 4


@pytest.mark.parametrize(
    ("job", "statuses", "again", "expected"),
    [
        pytest.param("annotate", [], False, Start(1), id="first"),
        pytest.param("annotate", ["PENDING"], False, 1, id="waiting: joined"),
        pytest.param("annotate", ["RUNNING"], False, 1, id="running: joined"),
        pytest.param("annotate", ["RUNNING"], True, 1, id="running: joined even if asked again"),
        pytest.param("annotate", ["FAILED"], False, Start(2), id="failed: continued"),
        pytest.param("annotate", ["STOPPED"], False, Start(2), id="stopped: continued"),
        pytest.param("annotate", ["FAILED", "RUNNING"], False, 2, id="second attempt: joined"),
        pytest.param("annotate", ["SUCCEEDED"], False, 1, id="done: stands"),
        pytest.param("annotate", ["SUCCEEDED"], True, Start(2), id="done, asked again"),
        pytest.param("scan", ["SUCCEEDED"], False, Start(2), id="scan: the next window"),
        pytest.param("scan", ["SUCCEEDED", "RUNNING"], False, 2, id="scan running: joined"),
    ],
)
def test_what_a_submission_does(job: str, statuses: list[Status], again: bool, expected: Start | int) -> None:
    attempts = [Attempt(number, status) for number, status in enumerate(statuses, 1)]
    found = decide(job, reversed(attempts), again=again)
    if isinstance(expected, Start):
        assert found == expected
    else:
        assert found == Attach(attempts[expected - 1])


def test_attempts_that_the_cluster_forgot_leave_their_numbers_used() -> None:
    assert decide("annotate", [Attempt(7, "FAILED")]) == Start(8)


def test_the_statuses_are_rays() -> None:
    from ray.job_submission import JobStatus

    assert set(get_args(Status)) == {status.value for status in JobStatus}
