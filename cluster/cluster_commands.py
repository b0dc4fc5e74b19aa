"""The commands that bring clusters up and down."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from cluster.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, interrupt
from cluster.options import Json
from cvcore.errors import SpecError, VeedorError

Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="cluster.yaml; without one, nodes on this machine.")
]


def up(
    config: Config = None,
    name: Annotated[str | None, typer.Option(help="Of the cluster; default local.")] = None,
    workers: Annotated[int | None, typer.Option(help="Nodes that work, beside the head; default 2.")] = None,
    cpus: Annotated[float | None, typer.Option(help="Of each worker; default the machine's, shared.")] = None,
    gpus: Annotated[
        int | None,
        typer.Option(help="Of each worker; more than the machine has are logical, computing on CPUs."),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Of the job server; 0 for any that is free.")] = None,
    as_json: Json = False,
) -> None:
    """Bring up a Ray cluster of several nodes on this machine, for trying things, or in a cloud.

    It asks for a token, which is kept where the other commands find it, and listens on loopback alone.
    """
    from cluster.cluster_spec import LocalClusterSpec, build_cluster_spec, read_cluster_spec
    from cluster.console import open_display
    from cluster.local.lifecycle import bring_up
    from cluster.local.record import token_path
    from jobs.outcome import JobFailed

    display = open_display(as_json=as_json)
    asked = {"name": name, "workers": workers, "cpus": cpus, "gpus": gpus, "port": port}
    given = {key: value for key, value in asked.items() if value is not None}
    signal.signal(signal.SIGTERM, interrupt)
    try:
        if config is not None:
            if given:
                raise SpecError(f"--config holds the whole cluster: write {', '.join(given)} there")
            spec = read_cluster_spec(config)
        else:
            spec = build_cluster_spec(given, name="the command line")
        assert isinstance(spec, LocalClusterSpec)
        cluster = bring_up(spec, say=display.step)
    except JobFailed as error:
        display.error(str(error))
        raise typer.Exit(EXIT_FAILED) from error
    except VeedorError as error:
        display.error(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    except KeyboardInterrupt as error:
        display.error("interrupted: nothing is left running")
        raise typer.Exit(EXIT_INTERRUPTED) from error
    working = [node for node in cluster.nodes if node.role != "head"]
    facts: dict[str, Any] = {
        "name": cluster.name,
        "url": cluster.url,
        "token_file": str(token_path(cluster.name)),
        "workers": len(working),
        "cpus": sum(node.num_cpus for node in working),
        "gpus": sum(node.num_gpus for node in working),
    }
    of_it = "" if cluster.name == "local" else f" --name {cluster.name}"
    display.step(
        f"Cluster {cluster.name} at {cluster.url}: {facts['workers']} workers, {facts['cpus']:g} CPUs and "
        f"{facts['gpus']} GPUs\n"
        f"Token:   {facts['token_file']}\n"
        f"Submit:  veedor submit annotate.yaml --address {cluster.url} --follow\n"
        f"End it:  veedor down{of_it}",
        **facts,
    )


def down(
    config: Config = None,
    name: Annotated[str | None, typer.Option(help="Of the cluster; default local.")] = None,
    as_json: Json = False,
) -> None:
    """End a cluster that `veedor up` brought up: its processes and no others."""
    from cluster.cluster_spec import LocalClusterSpec, read_cluster_spec
    from cluster.console import open_display
    from cluster.exits import usage_errors
    from cluster.local.lifecycle import take_down

    display = open_display(as_json=as_json)
    with usage_errors(as_json=as_json):
        if config is not None:
            spec = read_cluster_spec(config)
            assert isinstance(spec, LocalClusterSpec)
            name = spec.name
        cluster = take_down(name or "local")
    display.step(f"Cluster {cluster.name} is down: its {len(cluster.nodes)} nodes ended", name=cluster.name)
