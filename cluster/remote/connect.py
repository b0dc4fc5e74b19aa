"""Reaching a cluster's job server: what is wrong is said before anything is sent to it."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests

from cluster.local.record import LocalCluster, token_path, up_here
from cluster.remote.address import VARIABLES, choose_url, is_loopback
from cluster.token import Token, find_token, readable_by_others
from cvcore.errors import SpecError
from jobs.outcome import JobFailed
from jobs.resources import ClusterShape, NodeShape

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

TIMEOUT_S = 15.0
MAX_NODES = 10_000
HOW_TO_GIVE = "give the cluster's token by --token-file FILE, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """A job server that answered.

    Attributes:
        url: without a trailing slash.
        client: Ray's own.
        token: None where it asks for none.
        local: the cluster's record, if it was brought up on this machine.
    """

    url: str
    client: JobSubmissionClient
    token: Token | None
    local: LocalCluster | None

    def get(self, path: str, **query: Any) -> requests.Response:
        """Ask the dashboard, which is the same server.

        Raises:
            JobFailed: if it does not answer any more, or refuses.
        """
        try:
            answer = requests.get(
                self.url + path, params=query, headers=_headers(self.token), timeout=TIMEOUT_S
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            raise JobFailed(f"the cluster at {self.url} does not answer {path}: {_reason(error)}") from error
        return answer

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive, as Ray's state API has them."""
        found = self.get("/api/v0/nodes", limit=MAX_NODES, detail=0).json()["data"]["result"]["result"]
        return [node for node in found if node["state"] == "ALIVE"]

    def shape(self) -> ClusterShape:
        """What its nodes declare, less those on which nothing computes."""
        declared = [node["resources_total"] for node in self.nodes()]
        return ClusterShape(
            tuple(NodeShape(has["CPU"], has.get("GPU", 0.0)) for has in declared if has.get("CPU"))
        )


def connect(
    address: str | None, *, token_file: Path | None = None, insecure: bool = False, say: Say
) -> Cluster:
    """Find the job server, check that it may be spoken to, and that it is one of ours.

    Args:
        address: as the user gave it.
        token_file: likewise.
        insecure: whether a cluster beyond this machine may be used without a token.
        say: is told what the user should know but need not act on.

    Raises:
        SpecError: if there is none, none that can be reached, none of this version of Ray, or a token is
            missing or wrong.
    """
    here = {cluster.url: cluster for cluster in up_here()}
    url = choose_url(address, local_urls=here)
    local = here.get(url)
    token = find_token(token_file=token_file, own_file=None if local is None else token_path(local.name))
    if not is_loopback(url):
        if token is None and not insecure:
            raise SpecError(
                f"{url} is beyond this machine, and there is no token for it: whoever reaches a cluster "
                f"without one can run code on it. Start it with RAY_AUTH_MODE=token and {HOW_TO_GIVE}; "
                "--insecure does without"
            )
        if token is not None and urlsplit(url).scheme == "http":
            say(f"Warning: the token goes to {url} unencrypted: use https, or a tunnel that ends there")
    if token is not None and readable_by_others(Path(token.origin)):
        say(f"Warning: other users can read the token in {token.origin}: chmod 600 {token.origin}")
    _pass_proxies_by(url)
    check_answer(url, token)
    return Cluster(url, _client(url, token), token, local)


def check_answer(url: str, token: Token | None) -> None:
    """Ask for the version; raises `SpecError` for anything but an answer of ours."""
    import ray

    try:
        answer = requests.get(
            f"{url}/api/version", headers=_headers(token), timeout=TIMEOUT_S, allow_redirects=False
        )
    except requests.RequestException as error:
        raise SpecError(
            f"no cluster answers at {url} ({_reason(error)}): check --address, that the cluster is up, and "
            "that its dashboard can be reached from here"
        ) from error
    if answer.status_code == 401:
        raise SpecError(f"the cluster at {url} asks for a token: {HOW_TO_GIVE}")
    if answer.status_code == 403:
        said = "a token is wanted" if token is None else f"the token from {token.origin} is another's"
        raise SpecError(f"the cluster at {url} refuses this user ({said}): {HOW_TO_GIVE}")
    try:
        theirs = str(answer.json()["ray_version"])
    except (ValueError, TypeError, LookupError) as error:
        raise SpecError(
            f"what answers at {url} is no Ray job server (status {answer.status_code}): give the address of "
            "the cluster's dashboard, whose port is 8265 by default"
        ) from error
    ours = str(ray.__version__)
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        raise SpecError(
            f"the cluster at {url} runs Ray {theirs}, this is Ray {ours}: their first two numbers have to "
            "agree. Use a cluster of this version, or a veedor made for that one"
        )


@contextlib.contextmanager
def lost_is_failed(url: str) -> Iterator[None]:
    """Turn what Ray's client raises of a server that is gone, or refuses, into a `JobFailed`."""
    try:
        yield
    except (requests.RequestException, ConnectionError, RuntimeError) as error:
        raise JobFailed(f"the cluster at {url} failed: {_reason(error)}") from error


def _client(url: str, token: Token | None) -> JobSubmissionClient:
    """Ray's client, which would rather go where its environment says."""
    from ray.job_submission import JobSubmissionClient

    for name in ("dashboard_sdk", "job.sdk"):
        logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
    saved = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    try:
        with lost_is_failed(url):
            return JobSubmissionClient(url, headers=_headers(token))
    finally:
        os.environ.update(saved)


def _pass_proxies_by(url: str) -> None:
    """What is on this machine is not asked for through a proxy elsewhere."""
    if is_loopback(url):
        host = urlsplit(url).hostname or ""
        before = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
        if host not in before.split(","):
            os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, [before, host]))


def _headers(token: Token | None) -> dict[str, str]:
    return {} if token is None else token.headers


def _reason(error: Exception) -> str:
    """The last cause, in a line: what a library wraps around it helps nobody."""
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    text = str(cause).strip().splitlines() or [type(cause).__name__]
    return f"{text[0].rstrip('.')}"
