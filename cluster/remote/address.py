"""Where a cluster's job server is, from what users write. An address that is given counts first."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from cvcore.errors import SpecError

VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
JOB_SERVER_PORT = 8265
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def choose_url(address: str | None, *, local_urls: Iterable[str]) -> str:
    """The job server's URL.

    Args:
        address: as given with the command; otherwise that of the environment, otherwise the one of
            `local_urls`, which are the clusters that are up on this machine.

    Raises:
        SpecError: if none is named, or what is named is no such address.
    """
    if address:
        return parse_address(address, origin="--address")
    for variable in VARIABLES:
        if value := os.environ.get(variable):
            return parse_address(value, origin=variable)
    found = sorted(local_urls)
    if len(found) == 1:
        return found[0]
    raise SpecError(
        f"several clusters are up here: choose one with --address {' or '.join(found)}"
        if found
        else "which cluster? Give --address http://HOST:8265 or RAY_ADDRESS, or bring one up here: veedor up"
    )


def parse_address(text: str, *, origin: str) -> str:
    """`scheme://host:port`, of `http(s)://host[:port]` or `host[:port]`.

    Raises:
        SpecError: for another scheme, a name and password, a host that cannot be.
    """
    hint = f"write {origin} as http://HOST:{JOB_SERVER_PORT}, the address of the cluster's dashboard"
    if text in ("auto", "local"):
        raise SpecError(f"{origin} is {text!r}, which names no job server: {hint}")
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SpecError(f"{origin}: {error}: {hint}") from error
    if parts.scheme not in ("http", "https"):
        raise SpecError(f"{origin} has the scheme {parts.scheme!r}, no job server: {hint}")
    if parts.username is not None or parts.password is not None:
        raise SpecError(f"{origin} holds a name or password: give a token by --token-file or RAY_AUTH_TOKEN")
    host = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    if not _HOST.fullmatch(host) or parts.query or parts.fragment:
        raise SpecError(f"{origin} is {text!r}, which is no address: {hint}")
    default = {"http": JOB_SERVER_PORT, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}:{default if port is None else port}{parts.path.rstrip('/')}"


def is_loopback(url: str) -> bool:
    """Whether a URL stays on this machine, or goes through a tunnel that begins here."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
