"""What a run shows: to a terminal, to a log, to a machine."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from cluster.console import JsonDisplay, LiveDisplay, PlainDisplay
from jobs.outcome import RunResult
from jobs.progress import STAGES, Snapshot, StageCount, recent_rates

HALF = Snapshot(
    total=1000,
    before=200,
    elapsed_s=40.0,
    actors_ready=1,
    actors=2,
    stages={"decode": StageCount(390, 10), "infer": StageCount(300, 0), "write": StageCount(196, 4)},
    rates={"decode": 10.0, "infer": 7.5, "write": 5.0},
)
DONE = Snapshot(1000, 200, 90.0, 2, 2, dict.fromkeys(STAGES, StageCount(790, 10)))
MANIFEST = {
    "job_id": "j",
    "counts": {"inputs": 1000, "ok": 990, "failed": 10, "detections": 1234},
    "failures": {"corrupt": 3, "empty": 7},
    "skipped": {".txt": 1},
}


def test_remaining_time_comes_from_what_this_run_still_has_to_do() -> None:
    assert HALF.remaining_s("write") == pytest.approx(120.0)
    nothing = Snapshot(10, 0, 0.0, 0, 1, dict.fromkeys(STAGES, StageCount()))
    assert nothing.remaining_s("write") is None
    assert DONE.remaining_s("write") == 0.0


def test_rates_are_those_of_the_last_moments() -> None:
    counts = [dict.fromkeys(STAGES, StageCount(n, n // 10)) for n in (0, 100, 200)]
    assert recent_rates([(0.0, counts[0])])["write"] == 0.0
    assert recent_rates([(20.0, counts[1]), (25.0, counts[2])])["write"] == pytest.approx(22.0)


def test_a_log_gets_plain_lines_and_the_last_one_always() -> None:
    output = io.StringIO()
    display = PlainDisplay(Console(file=output, width=60))
    display.progress(HALF)
    assert output.getvalue() == "", "not more often than every few seconds"
    display.progress(DONE)
    (line,) = output.getvalue().splitlines()
    for words in ("read + decode 1,000/1,000", "790 ok", "10 failed", "2 of 2 actors ready", "1:30"):
        assert words in line


def test_a_terminal_gets_one_live_line_a_stage() -> None:
    output = io.StringIO()
    display = LiveDisplay(Console(file=output, force_terminal=True, width=120, color_system=None))
    display.progress(HALF)
    display.close()
    shown = [line for line in output.getvalue().splitlines() if "images/s" in line]
    lines = {stage: next(line for line in shown if title in line) for stage, title in TITLES.items()}
    assert "600/1,000" in lines["decode"]
    assert "10.0 images/s" in lines["decode"]
    assert "400/1,000" in lines["write"]
    assert "2:00 left" in lines["write"]
    assert "1 of 2 actors ready" in output.getvalue()


TITLES = {"decode": "read + decode", "infer": "infer", "write": "write"}


def test_a_machine_gets_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    display = JsonDisplay()
    display.step("Planned", inputs=1000)
    display.progress(HALF)
    display.result(RunResult("s3://b/out", "finished", MANIFEST, 100.0, 10.0, 11.1, over_limit=True))
    display.error("too many")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["step", "progress", "result", "error"]
    assert events[1]["stages"]["write"] == {"ok": 196, "failed": 4, "images_per_s": 5.0, "remaining_s": 120.0}
    assert events[2]["over_limit"] is True
    assert events[2]["failures"] == {"corrupt": 3, "empty": 7}


def test_the_last_words_say_where_how_many_why_and_what_next(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(Console(stderr=True))
    display.result(RunResult("s3://b/out", "finished", MANIFEST, 100.0, 10.0, 11.1))
    said = capsys.readouterr().out
    for words in (
        "1,000 images: 990 ok, 10 failed, 1,234 detections",
        "1:40 in all, 10.0 s of it start-up; then 11.1 images/s",
        "Failed:  7 empty, 3 corrupt",
        'veedor query s3://b/out "select * from failures limit 5"',
        "s3://b/out/data",
        "veedor report s3://b/out",
    ):
        assert words in said


def test_a_run_of_one_unit_does_not_call_all_of_it_start_up(capsys: pytest.CaptureFixture[str]) -> None:
    display = PlainDisplay(Console(stderr=True))
    display.result(RunResult("s3://b/out", "finished", MANIFEST, 265.0, 264.5, 0.0038))
    assert "4:25 in all, in one go: 0.004 images/s" in capsys.readouterr().out
