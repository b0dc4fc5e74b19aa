"""What Prometheus is told of schedules, from what stands in their store: nothing else is asked or kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from cluster.schedules.decide import Held, Idle
from cluster.schedules.office import Office, Standing
from cluster.schedules.runs import RunHistory

SUCCESSES: Final = ("finished", "over limit")
MAX_LOOKED_BACK: Final = 100
METRICS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "veedor_schedule_lag_seconds": (
        "Since the oldest tick was due whose run is not done; 0 where all are.",
        (),
    ),
    "veedor_schedule_last_success_timestamp_seconds": ("When a run last ended well.", ()),
    "veedor_schedule_next_tick_timestamp_seconds": ("When it is due next.", ()),
    "veedor_schedule_failed_runs": ("Runs since the last one that ended well.", ()),
    "veedor_schedule_running": ("Whether a run is under way.", ()),
    "veedor_schedule_paused": ("Whether it is paused.", ()),
    "veedor_schedule_last_run_images": ("Of the last run that was over: by outcome.", ("outcome",)),
    "veedor_schedule_last_run_anomalies": ("Of the last scan that was over.", ()),
    "veedor_schedule_unreadable": ("Whether what stands of it cannot be read.", ()),
}


@dataclass(frozen=True)
class Sample:
    """A value of a metric of a schedule."""

    metric: str
    schedule: str
    value: float
    labels: tuple[str, ...] = ()


def schedule_samples(standing: Standing, history: Sequence[RunHistory], now: datetime) -> Iterator[Sample]:
    """What is told of one schedule.

    Args:
        standing: where it stands.
        history: its runs, the last one first, as far back as is looked.
        now: the store's time.
    """
    schedule = standing.change.schedule

    def sample(name: str, value: float, *labels: str) -> Sample:
        return Sample(f"veedor_schedule_{name}", schedule.name, value, labels)

    yield sample("lag_seconds", lag_s(standing, history, now))
    yield sample("paused", float(schedule.paused))
    yield sample("running", float(isinstance(standing.step, Held)))
    if isinstance(standing.step, Idle) and standing.step.until is not None:
        yield sample("next_tick_timestamp_seconds", standing.step.until.timestamp())
    records = [run.record for run in history if run.record is not None]
    ends = [record.outcome in SUCCESSES for record in records]
    yield sample("failed_runs", float(ends.index(True) if True in ends else len(ends)))
    if True in ends:
        yield sample("last_success_timestamp_seconds", records[ends.index(True)].at.timestamp())
    report = records[0].report if records else None
    for outcome in ("ok", "failed"):
        if report is not None and outcome in report.counts:
            yield sample("last_run_images", float(report.counts[outcome]), outcome)
    if report is not None and report.scan is not None and "anomalies" in report.scan:
        yield sample("last_run_anomalies", float(report.scan["anomalies"]))


def lag_s(standing: Standing, history: Sequence[RunHistory], now: datetime) -> float:
    """Seconds since the oldest tick was due whose run is not done; 0 where all are or none is to be."""
    schedule = standing.change.schedule
    if schedule.paused or schedule.removed:
        return 0.0
    since, waiting = schedule.since, []
    if history:
        claim = history[0].claims[-1]
        if history[0].record is None and claim.due.kind == "tick":
            waiting.append(claim.due.first)
        if claim.progress.until is not None:
            since = max(since, claim.progress.until)
    waiting += [instant for instant in schedule.upcoming(since) if instant <= now]
    return max(0.0, (now - min(waiting)).total_seconds()) if waiting else 0.0


class ScheduleCollector:
    """Looks into a store each time that it is asked."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def collect(self) -> Iterator[Metric]:
        """All metrics of all schedules that were not removed."""
        found, problems = self._office.look()
        now = self._office.time_to_look()
        samples = [Sample("veedor_schedule_unreadable", name, 1.0) for name in problems]
        for standing in found:
            name = standing.change.schedule.name
            if not standing.change.schedule.removed:
                samples.append(Sample("veedor_schedule_unreadable", name, 0.0))
                samples += schedule_samples(standing, self._history(name), now)
        for metric, (text, labels) in METRICS.items():
            family = GaugeMetricFamily(metric, text, labels=("schedule", *labels))
            for each in samples:
                if each.metric == metric:
                    family.add_metric((each.schedule, *each.labels), each.value)
            yield family

    def _history(self, name: str) -> list[RunHistory]:
        """The last runs, back to the last that ended well."""
        seen: list[RunHistory] = []
        for run in self._office.runs(name).history():
            seen.append(run)
            if len(seen) == MAX_LOOKED_BACK or (run.record and run.record.outcome in SUCCESSES):
                break
        return seen


def metrics_text(office: Office) -> str:
    """All of it in Prometheus' text format."""
    return generate_latest(registry_of(office)).decode()


def registry_of(office: Office) -> CollectorRegistry:
    """For a server that Prometheus asks."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ScheduleCollector(office))
    return registry
