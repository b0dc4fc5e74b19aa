"""`veedor view`: a run in the browser of this machine, to look at and to correct."""

from __future__ import annotations

import contextlib
import getpass
import json
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.exits import interrupt, usage_errors
from cluster.options import Endpoint, Json, Profile, Region
from jobs.visible import visible

if TYPE_CHECKING:
    from jobs.view.review import Saved
    from jobs.view.server import ViewServer

TOLD_S = 5.0
POLL_S = 0.2


def view(
    run: Annotated[str, typer.Argument(help="The --out of an annotate or track job.")],
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Open on images with this label; may repeat.")
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="With at least this score.")] = 0.0,
    max_score: Annotated[float, typer.Option(min=0, max=1, help="With at most this score.")] = 1.0,
    status: Annotated[str, typer.Option(help="any, ok, found, empty, failed, or an error code.")] = "any",
    track: Annotated[int | None, typer.Option(help="With a detection of this track.")] = None,
    state: Annotated[str, typer.Option(help="Of the review: any, undecided or decided.")] = "any",
    order: Annotated[
        str, typer.Option(help="run, uncertain (the most doubtful first), highest or lowest.")
    ] = "run",
    reviewer: Annotated[
        str | None, typer.Option("--as", help="Who decides, in corrections; default who is logged in.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 for any free one.")] = 0,
    profile: Profile = None,
    endpoint_url: Endpoint = None,
    region: Region = None,
    as_json: Json = False,
) -> None:
    """Look at a run in the browser of this machine, and accept, reject or relabel what it found.

    The address that is printed holds a secret: nobody else on this machine and no other site can read the
    page. What is decided is kept beside the run as an import; see veedor query and export --corrections.
    Stop with Ctrl-C.
    """
    from jobs.storage import Access
    from jobs.view.filters import parse_filter
    from jobs.view.server import ViewServer
    from jobs.view.session import open_view

    signal.signal(signal.SIGTERM, interrupt)
    with usage_errors(as_json=as_json):
        texts = {"status": status, "state": state, "order": order}
        texts |= {"min_score": str(min_score), "max_score": str(max_score)}
        texts |= {} if track is None else {"track": str(track)}
        chosen = parse_filter({"label": label or [], **{name: [text] for name, text in texts.items()}})
        session = open_view(
            run,
            who=reviewer or getpass.getuser(),
            access=Access(profile, endpoint_url, region),
            on_rows=_teller(as_json=as_json),
        )
        with contextlib.closing(session):
            session.check_labels(chosen)
            server = ViewServer(session, port=port)
            _say_ready(server.url(chosen), session.facts.num_images, as_json=as_json)
            serve(server)
            _say_saved(session.review.save(), as_json=as_json)


def serve(server: ViewServer) -> None:
    """Answer until interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=POLL_S)
    server.server_close()


def _teller(*, as_json: bool) -> Callable[[int], None]:
    """Says how many rows are indexed, now and then."""
    last_s = time.monotonic()

    def tell(num_rows: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= TOLD_S:
            last_s = time.monotonic()
            _say({"event": "step", "text": f"indexed {num_rows:,} rows"}, as_json=as_json)

    return tell


def _say_ready(url: str, num_images: int, *, as_json: bool) -> None:
    text = f"{num_images:,} images: {url}\nStop with Ctrl-C; what is decided is saved then, too."
    _say({"event": "ready", "url": url, "num_images": num_images, "text": text}, as_json=as_json)


def _say_saved(saved: Saved | None, *, as_json: bool) -> None:
    if saved is not None:
        facts = {"uri": saved.uri, "num_images": saved.num_images}
        text = f"{saved.num_images:,} images corrected: {saved.uri}"
        _say({"event": "saved", **facts, "text": text}, as_json=as_json)


def _say(event: dict[str, Any], *, as_json: bool) -> None:
    typer.echo(json.dumps(event) if as_json else visible(event["text"], keep="\n"))
    sys.stdout.flush()
