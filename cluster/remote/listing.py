"""Jobs and nodes of a cluster, as text for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cluster.console import STAGE_TITLES, actors_text, duration_text, stage_text
from cluster.events import snapshot_of
from cluster.remote.connect import Cluster
from cluster.remote.report import JobReport
from jobs.progress import STAGES
from jobs.storage import join

STATUS_TEXTS = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "STOPPED": "stopped",
    "SUCCEEDED": "done",
    "FAILED": "failed",
}


@dataclass(frozen=True)
class NodeUse:
    """A node: what it declares, and how busy it is.

    Attributes:
        cpu_percent: of all its cores; None where that is not known.
        gpus: percent busy, MiB used and MiB there are, of each GPU that it has.
    """

    name: str
    is_head: bool
    num_cpus: float
    num_gpus: float
    cpu_percent: float | None
    gpus: tuple[tuple[float, float, float], ...]


def node_use(cluster: Cluster) -> list[NodeUse]:
    """The nodes that are alive."""
    measured = {
        node["raylet"].get("nodeId"): node
        for node in cluster.get("/nodes", view="summary").json()["data"]["summary"]
        if "raylet" in node
    }
    return [_use(node, measured.get(node["node_id"], {})) for node in cluster.nodes()]


def _use(node: dict[str, Any], measured: dict[str, Any]) -> NodeUse:
    declared = node["resources_total"]
    gpus = tuple(
        (float(gpu.get("utilizationGpu") or 0), float(gpu["memoryUsed"]), float(gpu["memoryTotal"]))
        for gpu in measured.get("gpus") or ()
    )
    return NodeUse(
        name=node["node_name"] or node["node_ip"],
        is_head=bool(node["is_head_node"]),
        num_cpus=declared.get("CPU", 0.0),
        num_gpus=declared.get("GPU", 0.0),
        cpu_percent=measured.get("cpu"),
        gpus=gpus,
    )


def job_lines(report: JobReport, *, now: datetime) -> list[str]:
    """What one job is at, for `veedor status JOB`."""
    lines = [f"{report.submission_id}: {_state(report, now=now)}"]
    if report.job:
        lines.append(f"  {report.job}, attempt {report.attempt}")
    if (progress := report.events.get("progress")) and report.is_active:
        snapshot = snapshot_of(progress)
        lines += [f"  {STAGE_TITLES[stage]:<14}{stage_text(snapshot, stage)}" for stage in STAGES]
        lines.append(f"  {actors_text(snapshot)}")
        if report.remaining_s:
            end = now + timedelta(seconds=report.remaining_s)
            lines.append(f"  ends about {end.astimezone():%Y-%m-%d %H:%M:%S}")
    elif (step := report.events.get("step")) and report.is_active:
        lines.append(f"  {step['text']}")
    if result := report.events.get("result"):
        counts = result["counts"]
        lines.append(f"  {counts['ok']:,} of {counts['inputs']:,} ok, {counts['failed']:,} failed")
    if (error := report.events.get("error")) and not report.is_active:
        lines.append(f"  {error['message']}")
    elif report.status == "FAILED":
        lines += [f"  {line}" for line in report.message.strip().splitlines()[:1]]
    if report.sink:
        lines.append(f"  Results: {report.sink if report.job == 'scan' else join(report.sink, 'data')}")
    return lines


def cluster_lines(url: str, nodes: Sequence[NodeUse]) -> list[str]:
    """A cluster's nodes, for `veedor status`."""
    working = [node for node in nodes if node.num_cpus]
    lines = [
        f"Cluster at {url}: {len(working)} nodes that work, {sum(node.num_cpus for node in working):g} CPUs, "
        f"{sum(node.num_gpus for node in working):g} GPUs"
    ]
    for node in sorted(nodes, key=lambda node: (not node.is_head, node.name)):
        parts = [f"{node.num_cpus:g} CPUs, {node.num_gpus:g} GPUs"]
        if node.cpu_percent is not None:
            parts.append(f"machine {node.cpu_percent:.0f} % busy")
        lines.append(f"  {node.name}{' (head)' * node.is_head}: {', '.join([*parts, *_gpu_parts(node)])}")
    return lines


def gpu_lines(nodes: Sequence[NodeUse]) -> list[str]:
    """How busy the GPUs are, a line a node that has some."""
    return [f"{node.name}: {', '.join(_gpu_parts(node))}" for node in nodes if node.gpus]


def _gpu_parts(node: NodeUse) -> list[str]:
    return [
        f"GPU {index} {busy:.0f} % busy with {used / 1024:.1f} of {there / 1024:.0f} GiB"
        for index, (busy, used, there) in enumerate(node.gpus)
    ]


def list_lines(reports: Sequence[JobReport], *, now: datetime) -> list[str]:
    """One line a job, for `veedor list`."""
    width = max((len(report.submission_id) for report in reports), default=0)
    return [
        f"{report.submission_id:<{width}}  {_state(report, now=now)}"
        + (f"  -> {report.sink}" if report.sink else "")
        for report in reports
    ]


def _state(report: JobReport, *, now: datetime) -> str:
    text = STATUS_TEXTS.get(report.status, report.status.lower())
    if report.status == "FAILED" and report.exit_code is not None:
        text += f" (exit code {report.exit_code})"
    if report.started_at is None:
        return text
    if report.ended_at is None:
        return f"{text} for {duration_text((now - report.started_at).total_seconds())}"
    took = duration_text((report.ended_at - report.started_at).total_seconds())
    return f"{text} after {took}, {report.ended_at.astimezone():%Y-%m-%d %H:%M}"
