"""Telling others of a scan's anomalies: a webhook and a file of JSON lines, at least once each.

A webhook gets one signed POST a scan, so that its rate is the scans'. What could not be delivered is tried
again by the next scan, until it was: the receiver tells repetitions by the `Idempotency-Key` header.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.compute as pc

from cvcore.errors import SpecError
from jobs.decisions import ScanRoot, highest, iter_decisions
from jobs.storage import ObjectMissing, Store

SECRET_VARIABLE = "VEEDOR_ALERT_SECRET"
ATTEMPTS = 4
FIRST_WAIT_S = 1.0
TIMEOUT_S = 10.0
MAX_LISTED = 100
"""Anomalies that one message lists, the worst; the count is of all."""


@dataclass(frozen=True)
class AlertSettings:
    """Where alerts go. Addresses often hold secrets: they are kept in no record.

    Attributes:
        webhook: an http(s) address.
        file: a local file that a line is appended to for each anomaly.
    """

    webhook: str | None = None
    file: str | None = None

    def check(self) -> None:
        """Raises `SpecError` for an address that no alert may be sent to."""
        if self.webhook is not None:
            parts = urlsplit(self.webhook)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise SpecError("--alert must be an address that begins with https:// or http://")

    @property
    def targets(self) -> dict[str, str | None]:
        """By kind."""
        return {"file": self.file, "webhook": self.webhook}


def alert_message(root: ScanRoot, number: int, store: Store) -> dict[str, Any] | None:
    """What there is to tell of a scan: None where it found no anomaly."""
    worst: list[dict[str, Any]] = []
    scored = anomalies = 0
    for decisions in iter_decisions(root, number, store):
        scored += decisions.num_rows
        anomalies += pc.sum(decisions.column("is_anomaly")).as_py() or 0
        worst = highest(worst, decisions, anomalous=True, count=MAX_LISTED)
    if not anomalies:
        return None
    names = ("uri", "etag", "frame_index", "anomaly_score", "anomaly_raw")
    return {
        "event": "anomalies",
        "scans": root.uri,
        "scan": number,
        "scored": scored,
        "anomalies": anomalies,
        "worst": [{name: row[name] for name in names} for row in worst],
    }


def send_alerts(
    root: ScanRoot,
    last: int,
    settings: AlertSettings,
    store: Store,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Tell of every scan that was not told of yet, in order; returns what went wrong, if anything.

    Nothing is told of scans before the first that was asked to tell.
    """
    wanted = {kind for kind, target in settings.targets.items() if target is not None}
    if not wanted:
        return []
    state = _State.read(root, last, store)
    problems: list[str] = []
    for number in sorted({*state.open, *range(state.told + 1, last + 1)}):
        message = alert_message(root, number, store)
        done = set(state.open.pop(number, ()))
        if message is not None:
            for kind in sorted(wanted - done):
                try:
                    _SENDERS[kind](str(settings.targets[kind]), message, sleep)
                    done.add(kind)
                except (OSError, HTTPException) as error:
                    problems.append(f"scan {number}: its alert did not reach the {kind} ({_plain(error)})")
            if wanted - done:
                state.open[number] = sorted(done)
        state.told = max(state.told, number)
        state.write(root, store)
    return problems


@dataclass
class _State:
    """Up to which scan was told, and of those the ones that did not reach all, with what they reached."""

    told: int
    open: dict[int, list[str]]

    @classmethod
    def read(cls, root: ScanRoot, last: int, store: Store) -> _State:
        """Of a folder that never told anything, that its scans before the last are not told of."""
        try:
            content = json.loads(store.read(root.alerts))
        except ObjectMissing:
            return cls(last - 1, {})
        return cls(content["told"], {int(number): kinds for number, kinds in content["open"].items()})

    def write(self, root: ScanRoot, store: Store) -> None:
        store.put(root.alerts, json.dumps({"told": self.told, "open": self.open}).encode())


def _append(name: str, message: dict[str, Any], _: Callable[[float], None]) -> None:
    """One line for each anomaly that the message lists."""
    path = Path(name)
    about = {"scans": message["scans"], "scan": message["scan"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(about | anomaly) + "\n" for anomaly in message["worst"])
        file.flush()
        os.fsync(file.fileno())


def _post(url: str, message: dict[str, Any], sleep: Callable[[float], None]) -> None:
    """Send it, patiently; raises what the last attempt raised."""
    body = json.dumps(message, sort_keys=True).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "veedor",
        "Idempotency-Key": hashlib.sha256(f"{message['scans']}\0{message['scan']}".encode()).hexdigest(),
    }
    secret = os.environ.get(SECRET_VARIABLE)
    if secret:
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Veedor-Signature"] = f"sha256={signature}"
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
        try:
            _refuse_metadata(url)
            request = urllib.request.Request(url, body, headers, method="POST")  # checked scheme
            with _OPENER.open(request, timeout=TIMEOUT_S):
                return
        except urllib.error.HTTPError as error:
            if (error.code < 500 and error.code != 429) or attempt == ATTEMPTS - 1:
                raise
        except (OSError, HTTPException):
            if attempt == ATTEMPTS - 1:
                raise


_SENDERS = {"file": _append, "webhook": _post}


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A receiver that sends elsewhere could send to where nothing may go."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


def _refuse_metadata(url: str) -> None:
    """Raises OSError for a host that is, or resolves to, a link-local address, where clouds keep secrets."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for found in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM):
        address = ipaddress.ip_address(str(found[4][0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if (mapped or address).is_link_local:
            raise OSError("its address is link-local, where no alert is sent")


def _plain(error: Exception) -> str:
    """An error without the address, which may be a secret."""
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code}"
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)
