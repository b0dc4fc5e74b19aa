"""Running a schedule's jobs on a cluster: what is submitted and recorded, and who tells of a scan."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.cli import app
from cluster.events import parse_event, replay
from cluster.exits import EXIT_FAILED, EXIT_OVER_LIMIT, EXIT_USAGE
from cluster.remote.follow import Ended
from cluster.remote.identity import Attempt
from cluster.remote.submit import Submission
from cluster.schedules.runner import Work
from cluster.schedules.submitting import Destination, SubmitRunner
from cvcore.errors import SpecError
from jobs.outcome import JobFailed

SCAN = {
    "job": "scan",
    "source": {"uri": "s3://x/in"},
    "model": {"name": "s3://x/m/"},
    "sink": {"uri": "s3://x/out"},
}
FOUND = {
    "event": "result",
    "uri": "s3://x/out",
    "outcome": "finished",
    "wall_s": 1.0,
    "startup_s": 0.5,
    "images_per_s": 9.0,
    "over_limit": False,
    "counts": {"inputs": 4, "ok": 3, "failed": 1},
    "failures": {"corrupt": 1},
    "scan": {
        "number": 7,
        "scored": 3,
        "anomalies": 1,
        "threshold": 0.5,
        "target_fpr": 0.01,
        "threshold_warning": None,
        "drift": [],
        "alert_problems": [],
    },
}


@dataclass
class FarCluster:
    """A cluster whose jobs say what they are told to, and end so."""

    log: list[dict[str, Any]]
    ended: Ended = field(default_factory=lambda: Ended("SUCCEEDED", 0, ""))
    started: bool = True
    url: str = "http://head:8265"
    submitted: list[Any] = field(default_factory=list)
    told: list[tuple[str, int, str | None]] = field(default_factory=list)

    def put_in_place(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("cluster.remote.connect.connect", lambda *_, **__: self)
        patch.setattr("cluster.remote.submit.submit", self._submit)
        patch.setattr("cluster.remote.follow.follow", self._follow)
        patch.setattr("jobs.alerts.send_alerts", self._send)

    def _submit(self, cluster: object, spec: Any, code: object, **options: Any) -> Submission:
        assert cluster is self
        self.submitted.append((spec, code, options))
        return Submission("veedor-scan-0123456789ab-1", self.started, Attempt(1, "PENDING"), spec.sink.uri)

    def _follow(self, cluster: object, submission_id: str, display: Any) -> Ended:
        del cluster, submission_id
        for event in self.log:
            said = parse_event(json.dumps(event))
            assert said is not None
            replay(said, display)
        return self.ended

    def _send(self, root: Any, last: int, settings: Any, store: object) -> list[str]:
        del store
        self.told.append((root.uri, last, settings.webhook))
        return []


def run(alert_env: str | None = None, content: dict[str, Any] = SCAN, **to: Any) -> Any:
    to = {"address": "http://head:8265", "code": "installed", **to}
    work = Work("line3", 4, 1, content, alert_env)
    return SubmitRunner(Destination(**to), as_json=True, verbose=False).run(work)


def test_a_job_that_ended_well_is_recorded_as_one_that_ran_here(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FarCluster([{"event": "step", "text": "hello"}, FOUND])
    cluster.put_in_place(monkeypatch)
    report = run(shared_paths=True)
    assert (report.exit_code, report.error, report.uri) == (0, None, "s3://x/out")
    assert report.counts == FOUND["counts"]
    assert report.failures == {"corrupt": 1}
    assert report.scan["number"] == 7
    ((spec, _, options),) = cluster.submitted
    assert spec.job == "scan"
    assert options == {"shared_paths": True, "verbose": False}
    assert cluster.told == []


@pytest.mark.parametrize(
    ("ended", "code", "error"),
    [
        pytest.param(Ended("FAILED", 3, ""), EXIT_OVER_LIMIT, "too many", id="over the limit"),
        pytest.param(Ended("FAILED", 1, ""), EXIT_FAILED, "too many", id="failed"),
        pytest.param(Ended("FAILED", None, "its node died"), EXIT_FAILED, "too many", id="died"),
    ],
)
def test_a_job_that_failed_says_why(
    ended: Ended, code: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FarCluster([{"event": "error", "message": "too many"}], ended).put_in_place(monkeypatch)
    report = run()
    assert (report.exit_code, report.error) == (code, error)


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        pytest.param(SpecError("no cluster answers"), EXIT_USAGE, id="no cluster"),
        pytest.param(JobFailed("the cluster does not answer any more"), EXIT_FAILED, id="lost"),
    ],
)
def test_a_cluster_that_is_away_is_a_failure_of_the_run(
    raised: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise raised

    monkeypatch.setattr("cluster.remote.connect.connect", refuse)
    report = run()
    assert (report.exit_code, report.error) == (code, str(raised))


def test_anomalies_are_told_of_from_where_the_address_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FarCluster([FOUND])
    cluster.put_in_place(monkeypatch)
    monkeypatch.delenv("LINE3_HOOK", raising=False)
    assert run("LINE3_HOOK").exit_code == EXIT_USAGE
    assert cluster.submitted == []
    monkeypatch.setenv("LINE3_HOOK", "https://example.org/hush")
    assert run("LINE3_HOOK").exit_code == 0
    assert cluster.told == [("s3://x/out", 7, "https://example.org/hush")]
    assert "hush" not in str(cluster.submitted)
    monkeypatch.setattr("jobs.alerts.send_alerts", lambda *_: ["scan 7: its alert did not reach the webhook"])
    failed = run("LINE3_HOOK")
    assert (failed.exit_code, failed.error) == (EXIT_FAILED, "scan 7: its alert did not reach the webhook")


def test_an_interrupted_process_leaves_its_job_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> object:
        raise KeyboardInterrupt

    FarCluster([]).put_in_place(monkeypatch)
    monkeypatch.setattr("cluster.remote.follow.follow", stop)
    with pytest.raises(KeyboardInterrupt):
        run()


def test_the_command_takes_one_of_two_places_to_run(tmp_path: Path) -> None:
    options = ["tick", "--store", str(tmp_path), "--submit", "http://head:8265", "--address", "head:6379"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == EXIT_USAGE
    assert "name one of --submit" in result.stderr
