"""Which addresses an endpoint may have: a spec must not turn workers against their metadata service."""

from __future__ import annotations

import os
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from cvcore.errors import SpecError

# Metadata services that are not at a link-local address: AWS over IPv6, Alibaba, Oracle.
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
_NAT64 = IPv6Network("64:ff9b::/96")


def check_endpoint(url: str) -> str:
    """Return an endpoint's URL if it is well formed: http or https, a host, no credentials.

    Raises:
        SpecError: otherwise; the message never shows the URL where it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SpecError(f"the endpoint's URL is malformed: {error}") from error
    del port
    if "@" in url:
        raise SpecError(
            "the endpoint's URL holds credentials: take them out (and change them: they were written down) "
            "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile"
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise SpecError(f"the endpoint {url!r} must be http://host or https://host, with a port if need be")
    return url


def endpoint_in_use(endpoint_url: str | None) -> str | None:
    """The endpoint that S3 calls go to: the one asked for, else the environment's; None is AWS."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return endpoint_url or next((value for name in names if (value := os.environ.get(name))), None)


def check_address(url: str) -> None:
    """Look an endpoint's host up and refuse what no store has. A host that is not found fails later.

    Raises:
        SpecError: for link-local addresses and known metadata services.
    """
    host = urlsplit(check_endpoint(url)).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for answer in found:
        if is_forbidden(str(answer[4][0])):
            raise SpecError(
                f"the endpoint {url!r} is at {answer[4][0]}, a link-local or metadata address, as no store is"
            )


def is_forbidden(address: str) -> bool:
    """Whether an IP address is link-local or a metadata service's, also in the disguises of IPv6."""
    found = ip_address(address.partition("%")[0])
    return any(each.is_link_local or each in _METADATA for each in (found, *_embedded(found)))


def _embedded(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    if isinstance(address, IPv4Address):
        return []
    carried = [address.ipv4_mapped, address.sixtofour]
    if address in _NAT64 or int(address) >> 32 == 0:
        carried.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [each for each in carried if each is not None]
