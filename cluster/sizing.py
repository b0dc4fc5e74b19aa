"""Answering `veedor plan --simulate`: measure, simulate, print."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from cluster.console import open_display
from cluster.spec_file import read_spec_file
from cvcore.errors import SpecError
from jobs.catalog import find_job
from jobs.prepare import Prepared, prepare
from jobs.sizing.fleet import Fleet, Hazards, NodeType
from jobs.sizing.search import MAX_INPUTS, Sizing, run_on, size_fleet
from jobs.sizing.workload import StageTimes, Workload, workload_facts
from jobs.spec import PipelineSpec, validate_spec

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PARTS = {
    "driver": "the driver",
    "cores": "cores (decoding, inference, encoding)",
    "decoding": "cores that decode",
    "replicas": "replicas of the model",
    "writing": "cores that write",
    "network": "network of the machines",
    "store": "requests to the store",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, see `veedor plan --help`."""

    spec_path: Path
    num_images: int | None
    deadline_s: float | None
    num_nodes: int | None
    node: NodeType
    requests_per_s: float | None
    hazards: Hazards
    times_path: Path | None
    save_times_path: Path | None

    @property
    def is_asked(self) -> bool:
        """Whether anything was said that only a simulation can answer."""
        asked = (self.num_images, self.deadline_s, self.num_nodes, self.times_path, self.save_times_path)
        return any(value is not None for value in asked)


def parse_count(text: str) -> int:
    """A number of images, as `250000`, `1e9` or `1_000_000`.

    Raises:
        SpecError: for anything else.
    """
    try:
        value = float(text.replace(",", ""))
    except ValueError as error:
        raise SpecError(f"{text!r} is no number of images: 250000 and 1e9 are") from error
    if not 1 <= value <= 1e15:
        raise SpecError(f"the number of images must be from 1 to 1e15, got {text}")
    return round(value)


def parse_duration(within: str | None, by: datetime | None) -> float | None:
    """Seconds that there are, of a duration such as `36h` or until a moment in local time.

    Raises:
        SpecError: where both are given, or the duration is none, or the moment is over.
    """
    if within is not None and by is not None:
        raise SpecError("give --within or --by, not both")
    if by is not None:
        left = by.timestamp() - datetime.now().timestamp()
        if left <= 0:
            raise SpecError(f"--by {by:%Y-%m-%dT%H:%M:%S} is in the past")
        return left
    if within is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", within)
    if not found or not float(found[1]):
        raise SpecError(f"--within {within!r} is no duration: 90m, 36h and 4d are")
    return float(found[1]) * _SECONDS[found[2]]


def answer(question: Question, *, as_json: bool) -> None:
    """Simulate what was asked and print it.

    Raises:
        SpecError: for a spec that cannot be simulated, or a question without an end.
    """
    if (question.deadline_s is None) == (question.num_nodes is None):
        raise SpecError("say either what time there is (--within, --by) or how many machines (--nodes)")
    display = open_display(as_json=as_json)
    try:
        prepared = _prepare(question, display.step)
        times = _stage_times(question, prepared, display.step)
    finally:
        display.close()
    work = Workload(
        question.num_images or prepared.plan.inputs.num_images, prepared.facts.input_spec.num_bytes, times
    )
    if not as_json:
        display.step(f"Simulating {work.num_images:,} images in {work.num_units:,} units")
    found = _find(question, work, prepared.spec)
    if as_json:
        Console().print_json(json.dumps(_content(found, work, question)))
    else:
        _print(found, work, question)


def _prepare(question: Question, say: Any) -> Prepared:
    name = str(question.spec_path)
    content = read_spec_file(question.spec_path)
    job = find_job(content)
    spec = validate_spec(content, job.spec, name=name)
    if not isinstance(spec, PipelineSpec) or job.purpose is None:
        raise SpecError(
            f"{name} is a {content.get('job')} job: only jobs that take images through a model in one pass "
            "are simulated"
        )

    class Listening:
        def step(self, text: str, **facts: Any) -> None:
            say(text, **facts)

        def progress(self, snapshot: Any) -> None:
            del snapshot

    return prepare(spec, listener=Listening(), purpose=job.purpose(spec))


def _stage_times(question: Question, prepared: Prepared, say: Any) -> StageTimes:
    if question.times_path is not None:
        path = question.times_path
        try:
            return StageTimes.from_json(path.read_text(encoding="utf-8"), name=str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot read {path}: {error}") from error
    import torch

    from jobs.sizing.measure import measure_stages

    on_gpu = question.node.gpus > 0
    if on_gpu and not torch.cuda.is_available():
        raise SpecError(
            "there is no GPU on this machine to measure a replica on: run veedor plan --simulate "
            "--save-times times.json on a machine that has one, and name that file with --times here"
        )
    times = measure_stages(prepared, device=torch.device("cuda" if on_gpu else "cpu"), say=say)
    if question.save_times_path is not None:
        question.save_times_path.write_text(times.to_json() + "\n", encoding="utf-8")
    return times


def _find(question: Question, work: Workload, spec: PipelineSpec) -> Sizing:
    if question.num_nodes is not None:
        fleet = Fleet(question.node, question.num_nodes, question.requests_per_s)
        return run_on(work, fleet, hazards=question.hazards, asked=spec.resources)
    assert question.deadline_s is not None
    return size_fleet(
        work,
        question.node,
        deadline_s=question.deadline_s,
        requests_per_s=question.requests_per_s,
        hazards=question.hazards,
        asked=spec.resources,
    )


def _content(found: Sizing, work: Workload, question: Question) -> dict[str, Any]:
    outcome = found.outcome
    return {
        "work": workload_facts(work),
        "times": asdict(work.times),
        "deadline_s": question.deadline_s,
        "in_time": found.in_time,
        "reason": found.reason,
        "jobs_at_once": found.at_once,
        "jobs_in_turn": found.in_turn,
        "nodes": found.num_nodes,
        "cpus": found.num_nodes * question.node.cpus,
        "gpus": found.num_nodes * question.node.gpus,
        "wall_s": found.wall_s,
        "images_per_s": found.images_per_s,
        "cost": found.cost,
        "busy": outcome.busy,
        "bottleneck": outcome.bottleneck,
        "nodes_lost": outcome.nodes_lost,
        "units_redone": outcome.units_redone,
        "simulated_units": outcome.simulated_units,
        "resources": asdict(outcome.resources),
    }


def _print(found: Sizing, work: Workload, question: Question) -> None:
    console, outcome, node = Console(highlight=False), found.outcome, question.node
    table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1))
    table.add_column(style="dim")
    table.add_column()
    machines = f"{found.num_nodes:,} machines, {found.num_nodes * node.cpus:,.0f} CPUs"
    if node.gpus:
        machines += f", {found.num_nodes * node.gpus:,.0f} GPUs"
    rows = [
        ("Work", f"{work.num_images:,} images, {work.num_units:,} units of {work.unit_size}"),
        ("Fleet", machines),
        ("Time", f"{_hours(found.wall_s)}, {found.images_per_s:,.0f} images/s"),
    ]
    if node.price_per_h:
        rows.append(("Cost", f"{found.cost:,.2f} at {node.price_per_h:g} a machine and hour"))
    rows.append(("Each job", _staffing(outcome.resources)))
    rows.append(("Busy", ", ".join(f"{_PARTS[part]} {share:.0%}" for part, share in _by_share(outcome.busy))))
    if outcome.nodes_lost or outcome.units_redone:
        rows.append(
            (
                "Mishaps",
                f"{outcome.nodes_lost} machines lost, {outcome.units_redone} units done again, of "
                f"{outcome.simulated_units:,} simulated",
            )
        )
    for name, text in rows:
        table.add_row(name, text)
    console.print(table)
    for text in _cuts(found, work):
        console.print(text)
    if not found.in_time:
        console.print(f"Not in time: {found.reason}. The above is the best there is.")


def _cuts(found: Sizing, work: Workload) -> list[str]:
    """Why and how the source is cut into several jobs."""
    cuts = []
    if found.at_once > 1:
        cuts.append(
            f"One driver hands out {1 / work.times.driver_s:,.0f} units a second and is not enough: cut the "
            f"source into {found.at_once} parts, by prefix, each on {found.fleet.num_nodes} machines."
        )
    if found.in_turn > 1:
        part = "each part" if found.at_once > 1 else "the source"
        cuts.append(
            f"A job's plan is held in memory, and is best kept below {MAX_INPUTS:,} inputs: cut {part} into "
            f"{found.in_turn} jobs, by prefix, one after the other."
        )
    return cuts


def _by_share(busy: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(busy.items(), key=lambda item: -item[1])


def _staffing(resources: Any) -> str:
    gpus = f" of {resources.gpus_per_actor:g} GPUs" if resources.gpus_per_actor else ""
    kind = "doing whole units" if resources.fused else f"fed by tasks of {resources.decode_cpus:g} CPUs"
    return f"{resources.actors:,} replicas{gpus}, {kind}"


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
