"""`veedor doctor`: find what would make jobs fail, before they do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.exits import EXIT_FAILED, usage_errors
from cluster.options import Endpoint, Json, Profile, Region

if TYPE_CHECKING:
    from cluster.doctor.finding import Finding

MARKS = {"ok": "ok", "warning": "WARNING", "problem": "PROBLEM"}


def doctor(
    store: Annotated[
        list[str] | None,
        typer.Option(help="Folder or s3://bucket/prefix/ that jobs write to, to try out; may repeat."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster's dashboard, http://HOST:8265; default RAY_ADDRESS.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="With the cluster's token.")] = None,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Check versions, codecs, GPUs, this machine, stores and a cluster, and say what to do.

    In a store it writes some objects, and deletes them again. Exits with 1 if there is a problem.
    """
    from cluster.doctor.finding import has_problem

    found: list[Finding] = []
    with usage_errors(as_json=as_json):
        for finding in _findings(store or [], address, token_file, profile, endpoint_url, region):
            found.append(finding)
            typer.echo(_json(finding) if as_json else _line(finding))
    if not as_json:
        typer.echo(_verdict(found))
    if has_problem(found):
        raise typer.Exit(EXIT_FAILED)


def _findings(
    stores: Iterable[str],
    address: str | None,
    token_file: Path | None,
    profile: str | None,
    endpoint_url: str | None,
    region: str | None,
) -> Iterator[Finding]:
    """What is quick comes first."""
    from cluster.doctor.codecs import check_codecs
    from cluster.doctor.gpu import check_gpus
    from cluster.doctor.machine import check_machine
    from cluster.doctor.storage import check_storage
    from cluster.doctor.versions import check_versions
    from jobs.storage import Access, resolve_location

    access = Access(profile, endpoint_url, region, attempts=3)
    places = [resolve_location(store) for store in stores]
    yield from check_versions()
    yield from check_codecs()
    yield from check_gpus()
    yield from check_machine()
    for place in places:
        yield from check_storage(place, access)
    if where := address or os.environ.get("RAY_ADDRESS"):
        from cluster.doctor.job_server import check_job_server

        yield from check_job_server(where, token_file=token_file)


def _line(finding: Finding) -> str:
    from jobs.visible import visible

    text = f"{finding.area:<9}{MARKS[finding.level]:<9}{visible(finding.text)}"
    return f"{text}\n{'':<18}-> {visible(finding.remedy)}" if finding.remedy else text


def _json(finding: Finding) -> str:
    return json.dumps({"event": "finding", **asdict(finding)})


def _verdict(found: list[Finding]) -> str:
    counts = {level: sum(each.level == level for each in found) for level in MARKS}
    if not counts["problem"] and not counts["warning"]:
        return f"All {counts['ok']} checks are well."
    parts = (f"{counts[level]} {level}{'s' * (counts[level] != 1)}" for level in ("problem", "warning"))
    return f"{', '.join(parts)}; {counts['ok']} checks are well."
