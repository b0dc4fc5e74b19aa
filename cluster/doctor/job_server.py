"""Whether a Ray cluster can be reached, is of this version, and asks for a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster.doctor.finding import Finding, ok, problem, warning
from cluster.remote.address import is_loopback
from cluster.remote.connect import connect
from cvcore.errors import SpecError
from jobs.outcome import JobFailed

AREA: Final = "cluster"


def check_job_server(address: str, *, token_file: Path | None) -> Iterator[Finding]:
    """Ask the job server at an address, as `veedor submit` would."""
    said: list[str] = []
    try:
        cluster = connect(address, token_file=token_file, insecure=True, say=said.append)
        shape = cluster.shape()
    except (SpecError, JobFailed) as error:
        what, _, remedy = str(error).partition(": ")
        yield problem(AREA, what, remedy or "see that it runs, and that its address is this one")
        return
    for text in said:
        what, _, remedy = text.removeprefix("Warning: ").partition(": ")
        yield warning(AREA, what, remedy)
    if cluster.token is None and not is_loopback(cluster.url):
        yield problem(
            AREA,
            f"{cluster.url} lets anybody who reaches it run code: it asks for no token",
            "start it with RAY_AUTH_MODE=token (veedor up and veedor manifest do)",
        )
    if not shape.nodes:
        yield warning(
            AREA,
            f"{cluster.url} answers, and no node that computes has come up",
            "start workers, or wait for those that are starting",
        )
        return
    yield ok(AREA, f"{cluster.url} has {shape}", num_cpus=shape.num_cpus, num_gpus=shape.num_gpus)
