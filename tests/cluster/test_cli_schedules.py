"""`veedor schedule` and `veedor tick` as users type them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.exits import EXIT_FAILED
from cluster.schedules.clock import StoreClock
from tests.cluster.schedules.simulated import CREATED_ONCE
from tests.faults.test_scans import calibrated, content_of, scanned_rows
from tests.plates import write_plates
from tests.s3_files import new_bucket
from tests.s3_servers import S3Server

# It fails at once, before Ray is started: its model is not there.
ANNOTATE = {
    "source": {"uri": "in/{date}"},
    "model": {"name": "none.cfg", "weights": "none.weights", "labels": "none.names"},
    "sink": {"uri": "out/{date}"},
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def lines_of(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def write_spec(folder: Path, content: dict[str, Any] = ANNOTATE, name: str = "line3.yaml") -> Path:
    (folder / name).write_text(yaml.safe_dump(content))
    return folder / name


class SetTime:
    """The store's time, set by hand."""

    def __init__(self, patch: pytest.MonkeyPatch, now: datetime) -> None:
        self.now = now
        patch.setattr(StoreClock, "now", lambda _: self.now)

    def set(self, text: str) -> None:
        self.now = datetime.fromisoformat(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VEEDOR_STORE", str(tmp_path / "ops"))
    return tmp_path


@pytest.mark.usefixtures("ray_cluster")
def test_a_scan_on_a_schedule_takes_each_version_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ticks and missed ones, new and overwritten images between; the clocks change in between too."""
    model = calibrated(here)
    write_plates(here / "in", 5)
    write_spec(here, content_of(model, "in", "scans"))
    time = SetTime(monkeypatch, datetime(2026, 10, 23, 12, tzinfo=UTC))
    added = run("schedule", "add", "line3.yaml", "--cron", "30 2 * * *", "--timezone", "Europe/Madrid")
    assert added.exit_code == 0, added.output
    assert "At 02:30 every day, Europe/Madrid" in added.stdout
    assert "Next ticks: 2026-10-24 02:30 CEST, 2026-10-25 02:30 CEST, 2026-10-26 02:30 CET" in added.stdout
    early = run("tick")
    assert early.exit_code == 0
    assert "Nothing was run; next is line3, due 2026-10-24 00:30 UTC" in early.stderr

    time.set("2026-10-24T00:31+00:00")
    first = run("tick")
    assert first.exit_code == 0, first.output
    assert "line3: run 1, due 2026-10-24 02:30 CEST" in first.stderr
    assert "Nothing was run" in run("tick").stderr

    write_plates(here / "in" / "more", 3, seed=100)
    shutil.copy(here / "in" / "more" / "000.png", here / "in" / "001.png")  # another version of an image
    time.set("2026-10-27T09:00+00:00")
    second = lines_of(run("tick", "--json"))[-1]
    assert second["event"] == "tick"
    assert [(r["number"], r["due"]["count"], r["outcome"]) for r in second["runs"]] == [(2, 3, "finished")]
    time.set("2026-10-28T09:00+00:00")
    assert run("tick", "--only", "line3").exit_code == 0

    history = lines_of(run("schedule", "history", "line3", "--json"))
    assert [run["run"] for run in history] == [3, 2, 1]
    assert [run["counts"]["inputs"] for run in history] == [0, 4, 5]
    assert [run["ticks"] for run in history] == [1, 3, 1]
    assert history[1]["lag_s"] == timedelta(hours=7, minutes=30).total_seconds()
    assert history[1]["scan"]["number"] == 2
    scored = Counter((row["uri"], row["etag"]) for row in scanned_rows(f"{here}/scans"))
    assert len(scored) == 9
    assert set(scored.values()) == {1}
    monkeypatch.setenv("COLUMNS", "200")  # cells of a narrow table are cut into lines
    table = run("schedule", "history", "line3").stdout
    assert "scan 2: 4 new," in " ".join(table.split())
    listed = run("schedule", "list").stdout
    assert "nothing new" in " ".join(listed.split())
    shown = lines_of(run("schedule", "list", "--json"))
    assert [(each["name"], each["now"], each["next_tick"]) for each in shown] == [
        ("line3", "waits", "2026-10-29T01:30:00+00:00")
    ]


def test_the_other_commands(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_spec(here)
    time = SetTime(monkeypatch, datetime(2026, 11, 29, 12, tzinfo=UTC))
    add = ("schedule", "add", "line3.yaml", "--cron", "0 2 * * *")
    assert lines_of(run(*add, "--attempts", 1, "--json"))[0]["next_ticks"][0] == "2026-11-30T02:00:00+00:00"
    assert "line3 is there, and the same" in run(*add, "--attempts", 1, "--replace").stdout
    assert "line3 is paused" in run("schedule", "pause", "line3").stdout
    assert "line3 was paused before" in run("schedule", "pause", "line3").stdout
    time.set("2026-12-01T12:00+00:00")
    assert "paused" in run("schedule", "list").stdout
    assert "Nothing was run" in run("tick").stderr
    assert "next tick 2026-12-02 02:00 UTC" in run("schedule", "resume", "line3").stdout
    asked = run("schedule", "backfill", "line3", "--from", "2026-11-01", "--to", "2026-11-02")
    assert "line3: 2 runs asked for" in asked.stdout
    tick = run("tick")
    assert tick.exit_code == EXIT_FAILED
    assert f"{here}/none.cfg" in tick.stderr
    history = run("schedule", "history", "line3").stdout
    assert "backfill" in history
    assert "Run 2: " in history
    assert f"{here}/none.cfg" in history
    assert run("schedule", "remove", "line3").exit_code == 0
    assert "There is no schedule" in run("schedule", "list").stdout
    assert "removed" in run("schedule", "list", "--removed").stdout
    assert run("schedule", "history", "line3").stdout == history
    assert "Nothing was run" in run("tick").stderr
    once = [path for path in here.rglob("*.json") if CREATED_ONCE.search(str(path))]
    assert len(once) == 5 + 2 + 2


def test_where_alerts_go_is_read_where_ticks_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"job": "scan", "source": {"uri": "in"}, "model": {"name": "m/"}, "sink": {"uri": "out"}}
    write_spec(here, content)
    time = SetTime(monkeypatch, datetime(2026, 11, 29, 12, tzinfo=UTC))
    run("schedule", "add", "line3.yaml", "--cron", "0 2 * * *", "--alert-env", "LINE3_HOOK", "--attempts", 1)
    time.set("2026-11-30T12:00+00:00")
    monkeypatch.delenv("LINE3_HOOK", raising=False)
    result = run("tick")
    assert result.exit_code == EXIT_FAILED
    assert "the environment variable LINE3_HOOK is not set" in result.stderr
    monkeypatch.setenv("LINE3_HOOK", "ftp://hush")
    time.set("2026-12-01T12:00+00:00")
    result = run("tick")
    assert result.exit_code == EXIT_FAILED
    assert "--alert must be an address" in result.stderr
    assert not any("hush" in path.read_text() for path in here.rglob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["add", "none.yaml", "--cron", "0 2 * * *"], ["cannot read none.yaml"], id="no file"),
        pytest.param(
            ["add", "line3.yaml", "--cron", "0 99 * * *"], ["'99' is no hour", "0 to 23"], id="cron"
        ),
        pytest.param(
            ["add", "line3.yaml", "--cron", "0 2 * * *", "--timezone", "Europe/Madird"],
            ["no time zone 'Europe/Madird'", "Did you mean 'Europe/Madrid'"],
            id="zone",
        ),
        pytest.param(
            ["add", "line3.yaml", "--cron", "0 2 * * *", "--name", "line 3"],
            ["'line 3'", "letters"],
            id="name",
        ),
        pytest.param(
            ["add", "bad.yaml", "--cron", "0 2 * * *"], ["bad.yaml is not valid", "modle"], id="spec"
        ),
        pytest.param(
            ["add", "line3.yaml", "--cron", "0 2 * * *", "--alert-env", "X"],
            ["--alert-env is of scans"],
            id="alert",
        ),
        pytest.param(
            ["add", "line3.yaml", "--cron", "5 2 * * *", "--name", "there"],
            ["there is a schedule 'there' already", "--replace", "--name"],
            id="two of one name",
        ),
        pytest.param(["pause", "thare"], ["no schedule 'thare'", "Did you mean 'there'"], id="pause"),
        pytest.param(["history", "thare"], ["Did you mean 'there'"], id="history"),
        pytest.param(["remove", "thare"], ["Did you mean 'there'"], id="remove"),
        pytest.param(
            ["backfill", "there", "--from", "x", "--to", "2026-01-01"],
            ["--from 'x' is no date"],
            id="backfill",
        ),
        pytest.param(["list", "--store", "ftp://x"], ["scheme 'ftp' is not allowed"], id="store"),
    ],
)
def test_mistakes_are_said_in_one_line_and_change_nothing(
    here: Path, arguments: list[str], words: list[str]
) -> None:
    write_spec(here)
    write_spec(here, {**ANNOTATE, "modle": {}}, "bad.yaml")
    assert run("schedule", "add", "line3.yaml", "--cron", "0 2 * * *", "--name", "there").exit_code == 0
    before = sorted(path for path in here.rglob("*") if path.name != "clock")
    result = run("schedule", *arguments)
    assert result.exit_code == 2, result.output
    text = " ".join(result.stderr.split())
    assert text.startswith("error: ")
    for word in words:
        assert word in text
    assert sorted(path for path in here.rglob("*") if path.name != "clock") == before


def test_a_tick_of_no_schedule_and_of_none_there(here: Path) -> None:
    empty = run("tick")
    assert (empty.exit_code, empty.stderr.splitlines()[0]) == (0, f"There is no schedule in {here}/ops")
    assert not (here / "ops").exists()
    wrong = run("tick", "--only", "line3")
    assert wrong.exit_code == 2
    assert "there is no schedule 'line3'" in wrong.stderr


def test_on_s3(here: Path, s3_environment: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = f"s3://{new_bucket(s3_environment)}/ops/"
    monkeypatch.setenv("VEEDOR_STORE", store)
    write_spec(here)
    assert run("schedule", "add", "line3.yaml", "--cron", "0 2 * * *", "--attempts", 1).exit_code == 0
    asked = run("schedule", "backfill", "line3", "--from", "2026-11-01T02:00", "--to", "2026-11-01T02:00")
    assert asked.exit_code == 0, asked.output
    assert run("tick").exit_code == EXIT_FAILED
    (found,) = lines_of(run("schedule", "history", "line3", "--json"))
    assert (found["run"], found["state"], found["exit_code"]) == (1, "failed", 2)
    missing = run("schedule", "list", "--store", "s3://no-such-bucket-at-all/ops")
    assert missing.exit_code == 2
    assert "there is no bucket" in missing.stderr
