"""`veedor schedule metrics`: how schedules stand, for Prometheus."""

from __future__ import annotations

import signal
from threading import Event
from typing import Annotated

import typer

from cluster.exits import usage_errors
from cluster.options import Endpoint, Profile, Region
from cluster.schedule_commands import StoreOption

LOOPBACK = "127.0.0.1"


def metrics(
    store: StoreOption,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Serve /metrics until SIGTERM or Ctrl-C instead.")
    ] = None,
    host: Annotated[str, typer.Option(help="Of --port; 0.0.0.0 lets other machines ask.")] = LOOPBACK,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
) -> None:
    """Print how schedules stand in Prometheus' text format: lag, last success, failures.

    For node_exporter's textfile collector, or with --port for Prometheus itself. Whoever may read the store
    may run it, anywhere.
    """
    from cluster.schedules.metrics import metrics_text, registry_of
    from cluster.schedules.office import Office
    from jobs.storage import Access, open_store, resolve_location

    with usage_errors():
        root = resolve_location(store)
        office = Office(root, open_store(root, Access(profile, endpoint_url, region)))
        text = metrics_text(office)
    if port is None:
        typer.echo(text, nl=False)
        return
    from prometheus_client import start_http_server

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        server, thread = start_http_server(port, addr=host, registry=registry_of(office))
    except OSError as error:
        raise typer.BadParameter(f"port {port} of {host}: {error.strerror}", param_hint="--port") from error
    typer.echo(f"Metrics of {root}: http://{host}:{port}/metrics; SIGTERM or Ctrl-C ends it", err=True)
    stop.wait()
    server.shutdown()
    thread.join()
