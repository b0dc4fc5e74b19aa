"""`veedor plan`: what a job would do and, simulated, how many machines it needs and what it costs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cluster.exits import usage_errors
from cluster.options import Address, Json

Count = Annotated[str | None, typer.Option(help="How many images, 1e9 say; default those that are listed.")]


def plan(
    spec: Annotated[Path, typer.Argument(help="Spec of a job over images, YAML or JSON.")],
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate the job on a fleet of machines, before there is one.")
    ] = False,
    images: Count = None,
    within: Annotated[
        str | None, typer.Option(help="Time that there is: 90m, 36h, 4d. Finds the fewest machines for it.")
    ] = None,
    by: Annotated[
        datetime | None, typer.Option(help="The same as a moment, in local time: 2026-12-04T18:00:00.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="So many machines: says when they are done.")
    ] = None,
    node_cpus: Annotated[float, typer.Option(help="CPUs of a machine.")] = 8,
    node_gpus: Annotated[float, typer.Option(help="GPUs of a machine.")] = 0,
    node_price: Annotated[float, typer.Option(help="Price of a machine, an hour.")] = 0,
    node_gbit: Annotated[float, typer.Option(help="Network of a machine, Gbit/s.")] = 10,
    requests_per_s: Annotated[
        float | None, typer.Option(help="Requests that the store answers a second, to all together.")
    ] = None,
    lost_after_h: Annotated[
        float | None, typer.Option(help="Mean hours until a machine is lost, as preemptible ones are.")
    ] = None,
    stragglers: Annotated[float, typer.Option(help="Share of units that take four times as long.")] = 0.0,
    crashes: Annotated[float, typer.Option(help="Share of units whose process dies.")] = 0.0,
    times: Annotated[
        Path | None,
        typer.Option(help="JSON of what the steps take, as --save-times wrote it on the machine to be used."),
    ] = None,
    save_times: Annotated[Path | None, typer.Option(help="Keep what was measured here, for --times.")] = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Print a job's spec, plan and resources; with --simulate, how many machines it needs.

    What the job's steps take is measured on this machine, on a sample of the inputs and with the spec's
    model, unless --times names what was measured on another one.
    """
    from cluster.sizing import Question, answer, parse_count, parse_duration
    from jobs.sizing.fleet import Hazards, NodeType

    with usage_errors(as_json=as_json):
        question = Question(
            spec_path=spec,
            num_images=None if images is None else parse_count(images),
            deadline_s=parse_duration(within, by),
            num_nodes=nodes,
            node=NodeType(node_cpus, node_gpus, node_price, bytes_per_s=node_gbit * 1e9 / 8),
            requests_per_s=requests_per_s,
            hazards=Hazards(node_mtbf_h=lost_after_h, unit_crash=crashes, straggler=stragglers),
            times_path=times,
            save_times_path=save_times,
        )
        if simulate:
            answer(question, as_json=as_json)
            return
    if question.is_asked:
        raise typer.BadParameter("--images, --within, --by, --nodes and --times are of --simulate: add it")
    from cluster.job_commands import run

    run(spec, address=address, dry_run=True, as_json=as_json)
