"""Showing a run: live lines on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cluster.events import Event, error_event, progress_event, result_event, step_event
from jobs.outcome import CLASSIFIED, FOUND, MAPS, RunResult
from jobs.progress import STAGES, Listener, Snapshot
from jobs.storage import join
from jobs.visible import visible

TABLE_WIDTH = 130
"""Of comparisons: narrower terminals break its lines, which can still be read, rather than its cells."""
PLAIN_INTERVAL_S = 5.0
REMOTE_INTERVAL_S = 1.0
MAX_REMOTE_INTERVAL_S = 10.0
REMOTE_SHARE = 0.01
"""Of the time since the start: from 17 minutes on every 10 seconds, which is 4 MB of log a day."""
ALL_STARTUP = 0.95
"""Of a run's time: what takes more until the first unit had but one."""
NEWLINE = "\n"
STAGE_TITLES = {"decode": "read + decode", "infer": "infer", "write": "write"}


class Display(Listener, Protocol):
    """A listener that also ends a run: with its result, or with an error."""

    def result(self, result: RunResult) -> None: ...

    def error(self, message: str) -> None: ...

    def close(self) -> None: ...


def open_display(*, as_json: bool) -> Display:
    """The display that fits where output goes."""
    if as_json:
        return JsonDisplay()
    console = Console(stderr=True, highlight=False, emoji=False)
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


class PlainDisplay:
    """One line now and then: for logs, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_s = time.monotonic()

    def step(self, text: str, **facts: Any) -> None:
        del facts
        self._console.print(visible(text, keep=NEWLINE), markup=False, soft_wrap=True)

    def progress(self, snapshot: Snapshot) -> None:
        finished = snapshot.before + snapshot.stages["write"].done >= snapshot.total
        if time.monotonic() - self._last_s < PLAIN_INTERVAL_S and not finished:
            return
        self._last_s = time.monotonic()
        parts = (f"{STAGE_TITLES[stage]} {stage_text(snapshot, stage)}" for stage in STAGES)
        self.step("  ".join(parts) + f"  {actors_text(snapshot)}")

    def result(self, result: RunResult) -> None:
        _print_result(result)

    def error(self, message: str) -> None:
        self._console.print(f"error: {visible(message, keep=NEWLINE)}", markup=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is left open."""


class LiveDisplay(PlainDisplay):
    """One live line a stage, on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live: Live | None = None

    def progress(self, snapshot: Snapshot) -> None:
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()
        self._live.update(_live_table(snapshot))

    def result(self, result: RunResult) -> None:
        self.close()
        super().result(result)

    def error(self, message: str) -> None:
        self.close()
        super().error(message)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class JsonDisplay:
    """One JSON object a line, on standard output."""

    def step(self, text: str, **facts: Any) -> None:
        self._print(step_event(text, facts))

    def progress(self, snapshot: Snapshot) -> None:
        self._print(progress_event(snapshot))

    def result(self, result: RunResult) -> None:
        self._print(result_event(result))

    def error(self, message: str) -> None:
        self._print(error_event(message))

    def close(self) -> None:
        """Nothing is left open."""

    def _print(self, event: Event) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


class RemoteDisplay(JsonDisplay):
    """What a driver prints on a cluster, into a log that is kept: progress less often as time goes on."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._next_s = 0.0
        self._said: Snapshot | None = None

    def progress(self, snapshot: Snapshot) -> None:
        since_s = time.monotonic() - self._began_s
        finished = snapshot.before + snapshot.stages["write"].done >= snapshot.total
        news = self._said is None or snapshot.stages != self._said.stages
        if since_s < self._next_s and not (finished and news):
            return
        self._next_s = since_s + min(MAX_REMOTE_INTERVAL_S, max(REMOTE_INTERVAL_S, REMOTE_SHARE * since_s))
        self._said = snapshot
        super().progress(snapshot)


def _live_table(snapshot: Snapshot) -> Table:
    table = Table.grid(padding=(0, 2))
    for stage in STAGES:
        count = snapshot.stages[stage]
        done = snapshot.before + count.done
        width = 24
        filled = int(width * done / max(1, snapshot.total))
        bar = f"[green]{'━' * filled}[/][dim]{'━' * (width - filled)}[/]"
        table.add_row(STAGE_TITLES[stage], bar, *_stage_parts(snapshot, stage))
    table.add_row("", f"[dim]{actors_text(snapshot)}[/]")
    return table


def _stage_parts(snapshot: Snapshot, stage: str) -> tuple[str, ...]:
    count = snapshot.stages[stage]
    remaining_s = snapshot.remaining_s(stage)
    return (
        f"{snapshot.before + count.done:,}/{snapshot.total:,}",
        f"{snapshot.images_per_s(stage):.1f} images/s",
        f"{count.ok:,} ok",
        f"{count.failed:,} failed",
        "" if remaining_s is None else f"{duration_text(remaining_s)} left",
    )


def stage_text(snapshot: Snapshot, stage: str) -> str:
    """Done, rate, good and bad rows, and time left, of one stage."""
    return ", ".join(part for part in _stage_parts(snapshot, stage) if part)


def actors_text(snapshot: Snapshot) -> str:
    """How many replicas are up, and since when the pipeline runs."""
    return f"{snapshot.actors_ready} of {snapshot.actors} actors ready, {duration_text(snapshot.elapsed_s)}"


def duration_text(seconds: float) -> str:
    """`m:ss`, or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _print_result(result: RunResult) -> None:
    """The last words of a run, on standard output."""
    console = Console(highlight=False, emoji=False)
    counts = result.manifest["counts"]
    found = result.manifest.get("scan")
    if found is None:
        name = next(name for name in ("detections", CLASSIFIED, MAPS, *FOUND.values()) if name in counts)
        what = f"{counts[name]:,} {name}"
    else:
        what = f"{found['anomalies']:,} anomalies"
    lines = [f"{_inputs_text(counts)}: {counts['ok']:,} ok, {counts['failed']:,} failed, {what}"]
    if found is not None and not counts["inputs"]:
        since = f" since scan {found['number']}" if found["number"] else ""
        lines = [f"Nothing new{since}: a scan of 0 images", *_scan_lines(result.uri, found)]
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)
        return
    if "tracks" in counts:
        lines[0] += f", {counts['tracked']:,} of them in {counts['tracks']:,} tracks"
        if 2 * counts["tracked"] < counts["detections"]:
            lines.append("Most detections are in no track: a lower --track-score begins more tracks")
    if result.outcome == "already finished":
        lines[0] += " (finished before; nothing was done)"
    else:
        lines.append(_speed_text(result))
    if result.manifest["failures"]:
        ordered = sorted(result.manifest["failures"].items(), key=lambda item: (-item[1], item[0]))
        lines.append("Failed:  " + ", ".join(f"{n:,} {code}" for code, n in ordered))
        lines.append(f'Why:     veedor query {result.uri} "select * from failures limit 5"')
    if "tracks" in counts:
        lines.append(f"Tracks:  {join(result.uri, 'tracks.parquet')}")
    if found is not None:
        lines += _scan_lines(result.uri, found)
    else:
        lines.append(f"Results: {join(result.uri, 'data')}")
    if "embeddings" in counts:
        lines.append(f"Next:    veedor index {result.uri} --out FOLDER")
    elif "proposals" in counts:
        lines.append(f"Next:    veedor evaluate {result.uri} --truth annotations.json")
    elif not {"pictures", "codes"} & counts.keys():
        lines.append(f"Next:    veedor report {result.uri}")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _speed_text(result: RunResult) -> str:
    """How long it took; start-up, which ends with the first unit, is told apart where others followed."""
    took = f"{duration_text(result.wall_s)} in all"
    rate = f"{result.images_per_s:.{1 if result.images_per_s >= 1 else 3}f} images/s"
    if result.startup_s > ALL_STARTUP * result.wall_s:
        return f"{took}, in one go: {rate}"
    return f"{took}, {result.startup_s:.1f} s of it start-up; then {rate}"


def _scan_lines(uri: str, found: dict[str, Any]) -> list[str]:
    """What a scan decided, and what to look at."""
    lines = []
    if found["scored"]:
        rate = f"{found['target_fpr']:.2g} of normal images score above it"
        lines.append(f"Scan {found['number']}: threshold {found['threshold']:.4g}; {rate}")
        if found["threshold_warning"]:
            lines.append(f"Warning: {found['threshold_warning']}")
    lines += [f"Drift:   {text}" for text in found["drift"]]
    lines += [f"Warning: {text}" for text in found["alert_problems"]]
    if found["number"]:
        lines.append(f"Results: {join(uri, 'decisions')} and {join(uri, 'scans')}")
    return lines


def _inputs_text(counts: dict[str, int]) -> str:
    """What the rows of a run are of."""
    videos, images = counts.get("videos", 0), counts.get("images", counts["inputs"])
    frames = f"{counts['inputs'] - images:,} frames of {videos:,} video{'s' * (videos != 1)}"
    if not videos:
        return f"{counts['inputs']:,} images"
    return f"{images:,} images and {frames}" if images else frames
