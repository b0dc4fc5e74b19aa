"""Which requests the page's server answers: its own page's, and nobody else's on this machine or the web."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names by which a browser reaches loopback. Another one is a foreign site's that resolves to it."""
MAX_BODY_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: HTTPStatus
    message: str


def check_request(method: str, path: str, headers: Mapping[str, str], *, token: str) -> Refusal | None:
    """None for a request that may be answered.

    Args:
        method: GET or POST.
        path: of the URL, with its query.
        headers: names in lower case.
        token: that the path begins with.
    """
    host = headers.get("host", "")
    if _host_name(host) not in HOSTS:
        return Refusal(HTTPStatus.FORBIDDEN, f"this page is at 127.0.0.1, not at {host!r}")
    if not secrets.compare_digest(path.split("/")[1].encode() if "/" in path else b"", token.encode()):
        return Refusal(HTTPStatus.NOT_FOUND, "use the whole address that veedor view printed")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return Refusal(HTTPStatus.FORBIDDEN, f"pages of {origin} may not ask this one")
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not _is_followed(headers):
        return Refusal(HTTPStatus.FORBIDDEN, "other sites may not ask this page")
    return _check_body(headers) if method == "POST" else None


def _is_followed(headers: Mapping[str, str]) -> bool:
    """Whether a reader follows a link, from a terminal in a browser say: the site it is on sees no answer."""
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _check_body(headers: Mapping[str, str]) -> Refusal | None:
    if "origin" not in headers:
        return Refusal(HTTPStatus.FORBIDDEN, "what changes something says which page it is from (Origin)")
    if headers.get("content-type", "").split(";")[0].strip() != "application/json":
        return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is application/json")
    length = headers.get("content-length", "")
    if not length.isascii() or not length.isdigit():
        return Refusal(HTTPStatus.LENGTH_REQUIRED, "the body's length is said in Content-Length")
    if int(length) > MAX_BODY_BYTES:
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {MAX_BODY_BYTES:,} bytes")
    return None


def _host_name(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if port.isdigit() and name else host).lower()
