"""`veedor manifest`: a job for Kubernetes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cluster.exits import usage_errors
from cvcore.errors import SpecError

if TYPE_CHECKING:
    from cluster.kubernetes.manifests import Kind, Order

NODES, ACCESS, TIMES = "Nodes", "Access", "Schedule"


def manifest(
    spec: Annotated[Path, typer.Argument(help="YAML or JSON job spec, as veedor run takes it.")],
    image: Annotated[
        str | None, typer.Option(help="With this version of veedor, and a tag or digest.")
    ] = None,
    kind: Annotated[
        Literal["job", "cluster"],
        typer.Option(help="A RayJob, or a RayCluster that jobs like this one are sent to."),
    ] = "job",
    name: Annotated[
        str | None, typer.Option(help="Default: the spec's file name, of a job with the spec's digest.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with a section kubernetes, which holds all of this and more."),
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="Default: kubectl's.")] = None,
    cpus: Annotated[
        int | None, typer.Option(help="Of a node that holds actors.", rich_help_panel=NODES)
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="Of such a node.", rich_help_panel=NODES)] = None,
    memory_gib: Annotated[float | None, typer.Option(help="Of such a node.", rich_help_panel=NODES)] = None,
    min_nodes: Annotated[
        int | None,
        typer.Option(help="Such nodes at least; default what the job needs.", rich_help_panel=NODES),
    ] = None,
    max_nodes: Annotated[
        int | None,
        typer.Option(help="Such nodes at most; above the least, they come and go.", rich_help_panel=NODES),
    ] = None,
    node_selector: Annotated[
        list[str] | None,
        typer.Option(help="LABEL=VALUE of their machines; may repeat.", rich_help_panel=NODES),
    ] = None,
    toleration: Annotated[
        list[str] | None,
        typer.Option(help="TAINT[=VALUE][:EFFECT] that they may have; may repeat.", rich_help_panel=NODES),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            help="A Secret whose keys are environment variables; may repeat.", rich_help_panel=ACCESS
        ),
    ] = None,
    service_account: Annotated[
        str | None, typer.Option(help="Whose identity the pods have.", rich_help_panel=ACCESS)
    ] = None,
    pull_secret: Annotated[
        list[str] | None, typer.Option(help="For the image's registry; may repeat.", rich_help_panel=ACCESS)
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(help="CLAIM:/path[:ro], mounted in every pod; may repeat.", rich_help_panel=ACCESS),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(help="NAME=VALUE, for all to read; may repeat.", rich_help_panel=ACCESS),
    ] = None,
    queue: Annotated[str | None, typer.Option(help="Kueue's LocalQueue that admits the job.")] = None,
    retries: Annotated[
        int | None, typer.Option(help="Of a job that failed; it goes on where it stopped.")
    ] = None,
    ttl_s: Annotated[int | None, typer.Option(help="Seconds that a job's pods stay after its end.")] = None,
    deadline_s: Annotated[int | None, typer.Option(help="End a job that takes longer.")] = None,
    cron: Annotated[
        str | None,
        typer.Option(help="A cron line: make a CronJob that ticks instead.", rich_help_panel=TIMES),
    ] = None,
    timezone: Annotated[
        str, typer.Option(help="IANA name of the zone whose clocks the line means.", rich_help_panel=TIMES)
    ] = "UTC",
    store: Annotated[
        str | None, typer.Option(help="s3://bucket/prefix/ of the schedules.", rich_help_panel=TIMES)
    ] = None,
    every_minutes: Annotated[
        int, typer.Option(help="How often to look whether the schedule is due.", rich_help_panel=TIMES)
    ] = 10,
    submit: Annotated[
        str | None,
        typer.Option(
            help="http://HOST:8265 of a RayCluster for the due jobs; default the pod that looks.",
            rich_help_panel=TIMES,
        ),
    ] = None,
    ray_cron_job: Annotated[
        bool,
        typer.Option(
            "--ray-cron-job", help="Make KubeRay's RayCronJob (alpha) of --cron.", rich_help_panel=TIMES
        ),
    ] = False,
) -> None:
    """Print manifests that run a job in Kubernetes: veedor manifest SPEC --image … | kubectl apply -f -

    The default is a RayJob, for which KubeRay's operator makes a Ray cluster and removes it afterwards. What
    the spec asks of resources decides how many nodes it has.
    """
    from cluster.kubernetes.manifests import build_manifests
    from cluster.kubernetes.notes import notes
    from cluster.kubernetes.yaml_text import yaml_text
    from cluster.schedules.adding import keepable_spec

    with usage_errors():
        group = {
            "cpus": cpus,
            "memory_gib": memory_gib,
            "min": min_nodes,
            "max": max_nodes,
            "node_selector": _pairs(node_selector, "--node-selector"),
            "tolerations": [_toleration(text) for text in toleration] if toleration else None,
        }
        given = {
            "image": image,
            "namespace": namespace,
            "service_account": service_account,
            "secrets": secret,
            "pull_secrets": pull_secret,
            "volumes": [_volume(text) for text in volume] if volume else None,
            "env": _pairs(env, "--env"),
            "queue": queue,
            "retries": retries,
            "ttl_s": ttl_s,
            "deadline_s": deadline_s,
        }
        order = _order(
            spec,
            config=config,
            given=_said(given),
            group=_said(group),
            gpus=gpus,
            kind=kind,
            name=name,
            times=_times(
                cron, timezone, store, every_minutes, submit=submit, kind=kind, ray_cron_job=ray_cron_job
            ),
            ray_cron_job=ray_cron_job,
        )
        text = yaml_text(build_manifests(order))
        if order.kind == "CronJob":
            keepable_spec(order.spec.model_dump(mode="json"), name=str(spec))
        said = notes(order)
    for line in said:
        typer.echo(f"Note: {line}", err=True)
    typer.echo(text, nl=False)


def _order(
    path: Path,
    *,
    config: Path | None,
    given: dict[str, Any],
    group: dict[str, Any],
    gpus: int | None,
    kind: str,
    name: str | None,
    times: dict[str, Any] | None,
    ray_cron_job: bool,
) -> Order:
    from cluster.kubernetes.cron_job import Schedule
    from cluster.kubernetes.manifests import Order
    from cluster.kubernetes.names import MAX_CHARS, corrected
    from cluster.kubernetes.options import read_options
    from cluster.spec_file import read_spec_file
    from jobs.catalog import find_job
    from jobs.spec import validate_spec

    content = read_spec_file(path)
    job = find_job(content)
    spec = validate_spec(content, job.spec, name=str(path))
    on_gpus = gpus is not None or bool(spec.resources.gpus_per_actor)
    if gpus is not None:
        group = {**group, "gpus": gpus}
    if group:
        given = {**given, "gpu_nodes" if on_gpus else "cpu_nodes": group}
    made: Kind = "RayCluster" if kind == "cluster" else "RayJob"
    schedule = None
    if times is not None:
        made = "RayCronJob" if ray_cron_job else "CronJob"
        schedule = Schedule(
            name=name or corrected(path.stem, MAX_CHARS[made]),
            endpoint_url=spec.storage.endpoint_url,
            region=spec.storage.region,
            **times,
        )
    return Order(spec, read_options(config, given), made, path.stem, name, schedule)


def _times(
    cron: str | None,
    timezone: str,
    store: str | None,
    every_minutes: int,
    *,
    submit: str | None,
    kind: str,
    ray_cron_job: bool,
) -> dict[str, Any] | None:
    """What a schedule is made of; None without --cron."""
    from jobs.storage import resolve_location

    if cron is None:
        if ray_cron_job or store is not None or submit is not None:
            raise SpecError("--store, --submit and --ray-cron-job are of a schedule: add its --cron")
        return None
    if kind == "cluster":
        raise SpecError("--kind cluster is of no schedule: drop it, or --cron")
    if ray_cron_job and store is not None:
        raise SpecError("a RayCronJob keeps its times in Kubernetes: drop --store, or --ray-cron-job")
    if ray_cron_job and submit is not None:
        raise SpecError("a RayCronJob makes a cluster for each run: drop --submit, or --ray-cron-job")
    if not ray_cron_job and store is None:
        raise SpecError(
            "--cron needs --store, the s3://bucket/prefix/ where schedules, claims and history are kept"
        )
    where = resolve_location(store) if store is not None else ""
    times = {"cron": cron, "timezone": timezone, "store": where, "every_minutes": every_minutes}
    return {**times, "submit": submit}


def _said(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _pairs(texts: list[str] | None, option: str) -> dict[str, str] | None:
    """KEY=VALUE as a mapping."""
    if not texts:
        return None
    for text in texts:
        if "=" not in text:
            raise SpecError(f"{option} {text!r} has no '=': write NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def _volume(text: str) -> dict[str, Any]:
    """CLAIM:/path[:ro]."""
    claim, _, rest = text.partition(":")
    path, _, mode = rest.partition(":")
    if not claim or not path or mode not in ("", "ro"):
        raise SpecError(f"--volume {text!r} is not CLAIM:/path or CLAIM:/path:ro")
    return {"claim": claim, "path": path, "read_only": mode == "ro"}


def _toleration(text: str) -> dict[str, Any]:
    """TAINT[=VALUE][:EFFECT]."""
    taint, _, effect = text.partition(":")
    key, equals, value = taint.partition("=")
    return {"key": key, "value": value if equals else None, "effect": effect or None}
