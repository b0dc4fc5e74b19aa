"""Tables and JSON lines of schedules and their runs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.schedules.cron import Cron
from cluster.schedules.decide import Attempt, Close, Held, Idle, Step
from cluster.schedules.history import attempts_of, report_of, run_content, state_of
from cluster.schedules.office import Standing
from cluster.schedules.records import Report, lag_s
from cluster.schedules.runs import RunHistory
from cluster.schedules.schedule import Change, Schedule
from jobs.visible import visible

NUM_UPCOMING = 3


def print_added(change: Change, *, store: str, as_json: bool) -> None:
    """A schedule that was just added: what its line means, its next ticks, and what comes next."""
    schedule = change.schedule
    upcoming = schedule.upcoming(schedule.since, NUM_UPCOMING)
    if as_json:
        times = [instant.isoformat() for instant in upcoming]
        print(json.dumps({**schedule.model_dump(mode="json"), "change": change.number, "next_ticks": times}))
        return
    console = _console()
    job = f"{schedule.spec['job']} into {schedule.spec['sink']['uri']}"
    lines = [
        f"{schedule.name}: {job}",
        f"{Cron(schedule.cron).in_words()}, {schedule.timezone}",
        f"Next ticks: {', '.join(_local(instant, schedule) for instant in upcoming)}",
        *(["It is paused, as the one before was"] if schedule.paused else []),
        f"Next:       veedor tick --store {store}, every minute, from cron or anything else; "
        "or veedor schedule serve",
    ]
    for line in lines:
        console.print(visible(line), markup=False, soft_wrap=True)


def print_schedules(
    found: list[Standing], last: dict[str, RunHistory | None], problems: dict[str, str], *, as_json: bool
) -> None:
    """Schedules with what is to be done about them now, and their last runs."""
    if as_json:
        for each in found:
            content = _schedule_content(each.change, each.step, last[each.change.schedule.name])
            print(json.dumps(content))
        for name, problem in problems.items():
            print(json.dumps({"name": name, "error": problem}))
        return
    console = _console()
    if not found and not problems:
        console.print(
            "There is no schedule: veedor schedule add SPEC --cron LINE --store STORE adds one",
            soft_wrap=True,
        )
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("name", "cron", "zone", "job", "now", "next tick", "last run"):
        table.add_column(title, overflow="fold")
    for each in found:
        schedule, step = each.change.schedule, each.step
        table.add_row(
            schedule.name,
            escape(schedule.cron),
            schedule.timezone,
            str(schedule.spec.get("job")),
            _now_text(step),
            _local(step.until, schedule) if isinstance(step, Idle) and step.until else "",
            escape(_last_text(schedule, last[schedule.name])),
        )
    console.print(table)
    for name, problem in problems.items():
        console.print(f"{name}: {visible(problem)}", markup=False, soft_wrap=True)


def print_history(schedule: Schedule, runs: list[RunHistory], *, as_json: bool) -> None:
    """Runs of one schedule, the last one first."""
    if as_json:
        for run in runs:
            print(json.dumps({"schedule": schedule.name, **run_content(run)}))
        return
    console = _console()
    if not runs:
        console.print(f"{schedule.name} has not run yet")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("run", "due", "ticks", "lag", "took", "by", "state", "result"):
        right = title in ("run", "ticks", "lag", "took")
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    for run in runs:
        table.add_row(*(escape(visible(cell)) for cell in _history_cells(schedule, run)))
    console.print(table)
    for run in runs:
        report = report_of(run)
        if report is not None and report.error:
            console.print(
                f"Run {run.claims[0].number}: {visible(report.error)}", markup=False, soft_wrap=True
            )


def _schedule_content(change: Change, step: Step, last: RunHistory | None) -> dict[str, Any]:
    schedule = change.schedule
    upcoming = step.until if isinstance(step, Idle) else None
    return {
        **schedule.model_dump(mode="json"),
        "changed_by": change.by,
        "changed_at": change.at.isoformat(),
        "now": _now_text(step),
        "next_tick": upcoming.isoformat() if upcoming else None,
        "last_run": run_content(last) if last else None,
    }


def _history_cells(schedule: Schedule, run: RunHistory) -> list[str]:
    first, last, record = run.claims[0], run.claims[-1], run.record
    state = state_of(run)
    if len(run.claims) > 1:
        state += f", attempt {last.attempt}"
        state += f" ({', '.join(attempt.outcome for attempt in attempts_of(run)[:-1])} before)"
    due = _local(last.due.last, schedule) + (" backfill" if last.due.kind == "backfill" else "")
    return [
        str(first.number),
        due,
        f"{last.due.count:,}",
        "" if last.due.kind == "backfill" else _duration(lag_s(first)),
        _duration((record.at - first.at).total_seconds()) if record else "",
        f"{last.holder.host}:{last.holder.pid}",
        state,
        report_text(report_of(run)),
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def report_text(report: Report | None) -> str:
    """What a job came to, in a few words."""
    if report is None:
        return ""
    if report.uri is None:
        return f"exit code {report.exit_code}"
    inputs, failed = report.counts.get("inputs", 0), report.counts.get("failed", 0)
    parts = [f"{inputs:,} inputs"]
    if report.scan is not None:
        told = f"scan {report.scan['number']}: {inputs:,} new, {report.scan['anomalies']:,} anomalies"
        parts = [told if inputs else "nothing new"]
    if failed:
        parts.append(f"{failed:,} failed")
    return ", ".join([*parts, *([f"exit code {report.exit_code}"] if report.exit_code else [])])


def _now_text(step: Step) -> str:
    match step:
        case Idle():
            return "waits" if step.why == "not due" else step.why
        case Held():
            return step.why
        case Attempt():
            return "due" if step.attempt == 1 else f"due again, attempt {step.attempt}"
        case Close():
            return "due to be closed"


def _last_text(schedule: Schedule, last: RunHistory | None) -> str:
    if last is None:
        return "none yet"
    result = report_text(report_of(last))
    when = _local(last.claims[-1].due.last, schedule)
    return f"{when}: {state_of(last)}" + (f", {result}" if result else "")


def _local(instant: datetime, schedule: Schedule) -> str:
    return f"{instant.astimezone(schedule.zone):%Y-%m-%d %H:%M %Z}"


def _console() -> Console:
    return Console(highlight=False, emoji=False)
