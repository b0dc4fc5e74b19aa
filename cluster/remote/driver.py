"""What runs on the cluster: `python -m cluster.remote.driver URI --sha256 DIGEST`.

It reads the spec, checks that it is the one that was submitted, and runs it as `veedor run` does, saying what
happens as JSON lines. `URI` is a file of the package, a path, or `s3://…`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from cluster.console import RemoteDisplay
from cluster.exits import EXIT_USAGE
from cluster.job_commands import run_content
from cluster.options import Verbose
from cvcore.errors import SpecError, VeedorError
from jobs.spec import load_yaml
from jobs.storage import is_s3, open_store, resolve_location


def main(
    uri: Annotated[str, typer.Argument(help="Of the spec.")],
    sha256: Annotated[str, typer.Option(help="That the spec must have.")],
    verbose: Verbose = False,
) -> None:
    """Run a submitted spec on the cluster that this process is on."""
    display = RemoteDisplay()
    try:
        content = load_yaml(read_submitted(uri, sha256=sha256), name=uri)
    except VeedorError as error:
        display.error(str(error))
        raise typer.Exit(EXIT_USAGE) from error
    run_content(
        content, address=None, dry_run=False, as_json=True, verbose=verbose, name=uri, display=display
    )


def read_submitted(uri: str, *, sha256: str) -> str:
    """The text of a spec.

    Raises:
        SpecError: if it is another one than was submitted.
        StorageError: if it cannot be read.
    """
    location = resolve_location(uri)
    # A file of the package lies in Ray's own folder, whatever roots an operator allows.
    body = open_store(location).read(location) if is_s3(location) else _read_file(Path(location))
    found = hashlib.sha256(body).hexdigest()
    if found != sha256:
        raise SpecError(
            f"{uri} has SHA-256 {found}, {sha256} was submitted: the spec was replaced; submit it again"
        )
    return body.decode("utf-8", errors="replace")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpecError(f"cannot read the submitted spec {path}: {error.strerror}") from error


if __name__ == "__main__":
    typer.run(main)
