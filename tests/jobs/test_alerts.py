"""Alerts: signed, once where it can be, again where it must be, never to where secrets lie."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cvcore.errors import SpecError
from jobs.alerts import ATTEMPTS, SECRET_VARIABLE, AlertSettings, alert_message, send_alerts
from jobs.decisions import ScanRoot
from jobs.storage import open_store

STORE = open_store("/")


@dataclass
class Receiver:
    """A webhook on loopback that answers with the codes it is given, then with 200."""

    codes: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def listening(self) -> Iterator[Receiver]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                code = receiver.codes.pop(0) if receiver.codes else 200
                self.send_response(code)
                if code == 302:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}/hook?token=hush"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def decided(root: Path, number: int, raws: list[float], *, threshold: float = 1.0) -> ScanRoot:
    """Decisions on a scan, as `jobs.decisions.decide` leaves them."""
    where = ScanRoot(str(root))
    table = pa.table(
        {
            "uri": [f"/in/{number}-{index}.png" for index in range(len(raws))],
            "etag": ["e"] * len(raws),
            "frame_index": pa.nulls(len(raws), pa.int32()),
            "anomaly_score": pa.array([min(1.0, raw / 10) for raw in raws], pa.float32()),
            "anomaly_raw": pa.array(raws, pa.float32()),
            "is_anomaly": [raw > threshold for raw in raws],
            "scan": pa.array([number] * len(raws), pa.int32()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    STORE.put(where.decisions(number), buffer.getvalue())
    return where


def send(root: ScanRoot, last: int, settings: AlertSettings) -> list[str]:
    waits: list[float] = []
    problems = send_alerts(root, last, settings, STORE, sleep=waits.append)
    assert waits == sorted(waits)
    return problems


def test_a_message_is_signed_and_lists_the_worst_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "canary")
    root = decided(tmp_path, 1, [0.5, 3.0, 7.0])
    with Receiver().listening() as receiver:
        assert send(root, 1, AlertSettings(receiver.url)) == []
    ((headers, body),) = receiver.got
    message = json.loads(body)
    assert (message["scan"], message["scored"], message["anomalies"]) == (1, 3, 2)
    assert [each["uri"] for each in message["worst"]] == ["/in/1-2.png", "/in/1-1.png"]
    expected = hmac.new(b"canary", body, hashlib.sha256).hexdigest()
    assert headers["X-Veedor-Signature"] == f"sha256={expected}"
    assert b"canary" not in body
    assert len(headers["Idempotency-Key"]) == 64


def test_a_receiver_that_stumbles_is_asked_again_with_the_same_key(tmp_path: Path) -> None:
    root = decided(tmp_path, 1, [2.0])
    with Receiver([503, 429]).listening() as receiver:
        assert send(root, 1, AlertSettings(receiver.url)) == []
    assert len(receiver.got) == 3
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1


def test_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    root = decided(tmp_path, 1, [2.0])
    settings = AlertSettings(file=str(tmp_path / "out" / "alerts.jsonl"))
    with Receiver().listening() as receiver:
        both = AlertSettings(receiver.url, settings.file)
        for _ in range(3):
            assert send(root, 1, both) == []
    assert len(receiver.got) == 1
    (line,) = (tmp_path / "out" / "alerts.jsonl").read_text().splitlines()
    assert json.loads(line)["uri"] == "/in/1-0.png"


def test_a_webhook_that_is_down_is_told_by_a_later_scan(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    root = decided(tmp_path, 1, [2.0])
    with Receiver([500] * ATTEMPTS).listening() as receiver:
        both = AlertSettings(receiver.url, str(file))
        (problem,) = send(root, 1, both)
        assert "scan 1" in problem
        assert "500" in problem
        assert "hush" not in problem
        decided(tmp_path, 2, [0.1])
        decided(tmp_path, 3, [4.0])
        assert send(root, 3, both) == []
    told = [json.loads(body)["scan"] for _, body in receiver.got]
    assert told == [1] * (ATTEMPTS + 1) + [3]
    assert [json.loads(line)["scan"] for line in file.read_text().splitlines()] == [1, 3]


def test_a_refusal_is_not_repeated_and_a_redirect_is_not_followed(tmp_path: Path) -> None:
    root = decided(tmp_path, 1, [2.0])
    for code in (403, 302):
        with Receiver([code]).listening() as receiver:
            (problem,) = send(root, 1, AlertSettings(receiver.url))
            assert str(code) in problem
            assert len(receiver.got) == 1


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]"])
def test_no_alert_goes_to_link_local_addresses(tmp_path: Path, host: str) -> None:
    root = decided(tmp_path, 1, [2.0])
    (problem,) = send(root, 1, AlertSettings(f"http://{host}/latest"))
    assert "link-local" in problem


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    root = decided(tmp_path, 1, [2.0])
    (problem,) = send(root, 1, AlertSettings("http://127.0.0.1:9/hush"))
    assert "refused" in problem
    assert "hush" not in problem


def test_nothing_is_said_of_scans_without_anomalies(tmp_path: Path) -> None:
    root = decided(tmp_path, 1, [0.5])
    assert alert_message(root, 1, STORE) is None
    assert alert_message(decided(tmp_path, 2, []), 2, STORE) is None
    with Receiver().listening() as receiver:
        assert send(root, 1, AlertSettings(receiver.url)) == []
    assert receiver.got == []


@pytest.mark.parametrize("address", ["ftp://x/y", "file:///etc/passwd", "https://", "nonsense"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(SpecError, match="--alert"):
        AlertSettings(address).check()
