"""Whether a Ray cluster can be reached, is of this version, and asks for a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from cluster.doctor.finding import Finding, ok, problem, warning
from cluster.remote.address import is_loopback
from cluster.remote.connect import check_answer, connect
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
        what, remedy = _parts(str(error))
        yield problem(AREA, what, remedy)
        return
    for text in said:
        what, remedy = _parts(text.removeprefix("Warning: "))
        yield warning(AREA, what, remedy)
    if _asks_for_no_token(cluster.url):
        kind = warning if is_loopback(cluster.url) else problem
        yield kind(
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


def _asks_for_no_token(url: str) -> bool:
    """Whether it answers without one, also where this user has one."""
    try:
        check_answer(url, None)
    except SpecError:
        return False
    return True


def _parts(message: str) -> tuple[str, str]:
    """What is wrong, and what to do: messages say them in this order, with a colon between."""
    what, _, remedy = message.rpartition(": ")
    return (what, remedy) if what else (message, "see that it runs, and that its address is this one")
