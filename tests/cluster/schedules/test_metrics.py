"""What Prometheus is told of schedules, as their runs go well, fail and are missed."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.schedules.book import Book
from cluster.schedules.metrics import METRICS, metrics_text
from cluster.schedules.office import Office
from cluster.schedules.records import Report
from jobs.storage import open_store
from tests.cluster.schedules.test_ticking import NOON, OK, Line, failed
from tests.runs import veedor, veedor_command
from tests.s3_servers import free_ports

SCANNED = Report(exit_code=0, counts={"inputs": 9, "ok": 8, "failed": 1}, scan={"anomalies": 2})
SERVE_TIMEOUT_S = 60


@pytest.fixture
def line(tmp_path: Path) -> Line:
    root = str(tmp_path / "store")
    found = Line(root, open_store(root))
    found.define()
    return found


def told(line: Line) -> dict[str, float]:
    """Values by metric without its prefix, with a further label's value behind a colon."""
    text = metrics_text(Office(line.root, line.store, clock=line.clock))
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.name in METRICS
        for sample in family.samples:
            assert sample.labels.pop("schedule") == "line"
            name = sample.name.removeprefix("veedor_schedule_")
            found[":".join([name, *sample.labels.values()])] = sample.value
    return found


def test_before_the_first_tick(line: Line) -> None:
    assert told(line) == {
        "lag_seconds": 0,
        "paused": 0,
        "running": 0,
        "failed_runs": 0,
        "unreadable": 0,
        "next_tick_timestamp_seconds": (NOON + timedelta(hours=1)).timestamp(),
    }


def test_lag_grows_until_what_was_missed_is_done(line: Line) -> None:
    line.wait(hours=1, minutes=5)
    assert told(line)["lag_seconds"] == 300
    line.wait(hours=1)
    assert told(line)["lag_seconds"] == 3900, "the oldest tick counts"
    line.tick(SCANNED)
    found = told(line)
    assert found["lag_seconds"] == 0
    assert found["last_success_timestamp_seconds"] == line.clock.time.timestamp()
    assert found["last_run_images:ok"] == 8
    assert found["last_run_images:failed"] == 1
    assert found["last_run_anomalies"] == 2


def test_a_run_under_way_is_late_since_its_first_tick(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line.store, "modified_at", lambda _: line.clock.time)
    line.wait(hours=2, minutes=1)
    seen = {}

    def look() -> Report:
        line.wait(minutes=1)
        seen.update(told(line))
        return OK

    line.tick(look)
    assert (seen["running"], seen["lag_seconds"]) == (1, 3720)
    assert told(line)["running"] == 0


def test_failures_are_counted_since_the_last_success(line: Line) -> None:
    line.wait(hours=1)
    line.tick(OK)
    success = line.clock.time.timestamp()
    for count in (1, 2):
        line.wait(hours=1)
        for _ in range(3):
            line.tick(failed("no model"))
            line.wait(minutes=2)
        found = told(line)
        assert found["failed_runs"] == count
        assert found["last_success_timestamp_seconds"] == success
    line.wait(hours=1)
    line.tick(OK)
    assert told(line)["failed_runs"] == 0


def test_what_is_paused_is_not_late_and_what_is_removed_not_told(line: Line) -> None:
    office = Office(line.root, line.store, clock=line.clock)
    office.pause("line")
    line.wait(hours=9)
    found = told(line)
    assert (found["paused"], found["lag_seconds"]) == (1, 0)
    office.remove("line")
    assert told(line) == {}


def test_what_cannot_be_read_is_told(line: Line) -> None:
    change = Book(line.root, line.store).find("line")
    line.store.put(f"{line.root}/schedules/changes/line.{change.number:06d}.json", b"{}")
    assert told(line) == {"unreadable": 1}


def test_the_command_prints_and_serves(line: Line) -> None:
    printed = veedor("schedule", "metrics", "--store", line.root)
    assert printed.returncode == 0, printed.stderr
    assert 'veedor_schedule_paused{schedule="line"} 0.0' in printed.stdout
    (port,) = free_ports(1)
    with subprocess.Popen(
        veedor_command("schedule", "metrics", "--store", line.root, "--port", str(port)),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            assert f"http://127.0.0.1:{port}/metrics" in process.stderr.readline()
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=SERVE_TIMEOUT_S) as answer:
                assert "veedor_schedule_lag_seconds" in answer.read().decode()
        finally:
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            assert process.wait(SERVE_TIMEOUT_S) == 0
            assert time.monotonic() - began < SERVE_TIMEOUT_S
