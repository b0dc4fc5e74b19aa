"""The commands that bring clusters up and down."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.exits import EXIT_INTERRUPTED, interrupt, told
from cluster.options import Json
from cvcore.errors import SpecError

if TYPE_CHECKING:
    from cluster.cluster_spec import AwsClusterSpec, LocalClusterSpec
    from cluster.console import Display

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
    render: Annotated[
        bool, typer.Option("--render", help="Print what Ray's launcher would be given, and do nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring up a Ray cluster of several nodes on this machine, for trying things, or in a cloud.

    It asks for a token, which is kept where the other commands find it, and answers on loopback alone.
    """
    from cluster.cluster_spec import LocalClusterSpec, build_cluster_spec, read_cluster_spec

    asked = {"name": name, "workers": workers, "cpus": cpus, "gpus": gpus, "port": port}
    given = {key: value for key, value in asked.items() if value is not None}
    signal.signal(signal.SIGTERM, interrupt)
    with told(as_json=as_json) as display:
        if config is not None and given:
            raise SpecError(f"--config holds the whole cluster: write {', '.join(given)} there")
        spec = (
            build_cluster_spec(given, name="the command line")
            if config is None
            else read_cluster_spec(config)
        )
        if isinstance(spec, LocalClusterSpec):
            if render:
                raise SpecError("--render is for clusters in a cloud: this one is started without a launcher")
            _up_here(spec, display)
        elif render:
            from cluster.launcher.run import render as render_config

            typer.echo(render_config(spec), nl=False)
        else:
            _up_in_cloud(spec, display)


def down(
    config: Config = None,
    name: Annotated[str | None, typer.Option(help="Of the cluster; default local.")] = None,
    as_json: Json = False,
) -> None:
    """End a cluster that `veedor up` brought up: its processes, or its machines, and no others."""
    from cluster.cluster_spec import read_cluster_spec
    from cluster.launcher.run import end, launcher_config
    from cluster.local.lifecycle import take_down

    with told(as_json=as_json) as display:
        chosen = read_cluster_spec(config).name if config is not None else name or "local"
        if launcher_config(chosen).exists():
            end(chosen)
            display.step(f"Cluster {chosen} is down: its machines are returned", name=chosen)
        else:
            cluster = take_down(chosen)
            display.step(f"Cluster {chosen} is down: its {len(cluster.nodes)} nodes ended", name=chosen)


def _up_here(spec: LocalClusterSpec, display: Display) -> None:
    from cluster.local.lifecycle import bring_up
    from cluster.local.record import token_path

    try:
        cluster = bring_up(spec, say=display.step)
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
        f"Submit:  veedor submit SPEC --address {cluster.url} --follow\n"
        f"End it:  veedor down{of_it}",
        **facts,
    )


def _up_in_cloud(spec: AwsClusterSpec, display: Display) -> None:
    from cluster.launcher.run import launch
    from cluster.local.record import token_path

    config, token_file = launch(spec), token_path(spec.name)
    display.step(
        f"Cluster {spec.name} is up in {spec.region}\n"
        f"Tunnel:  ray dashboard {config}   (in another terminal; it forwards port 8265)\n"
        f"Submit:  veedor submit SPEC --address http://127.0.0.1:8265 --token-file {token_file} --follow\n"
        f"End it:  veedor down --name {spec.name}",
        name=spec.name,
        token_file=str(token_file),
    )
