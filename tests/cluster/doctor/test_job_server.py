"""The doctor's look at clusters: a server that answers as Ray's does, well and badly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import ray

from cluster.doctor import job_server
from cluster.doctor.finding import Finding
from cluster.doctor.job_server import check_job_server
from tests.s3_servers import free_ports

TOKEN = "t" * 32
WORKER = {"state": "ALIVE", "resources_total": {"CPU": 8.0, "GPU": 1.0}}
HEAD = {"state": "ALIVE", "resources_total": {"memory": 1.0}}


@contextmanager
def answering(
    *,
    version: str = ray.__version__,
    asks: bool = True,
    nodes: tuple[Any, ...] = (HEAD, WORKER),
    body: str = "",
) -> Iterator[str]:
    """A job server; `body` is what it answers instead, whatever is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            if asks and given != f"Bearer {TOKEN}":
                self.send_error(401 if given is None else 403)
                return
            facts: dict[str, Any] = {"version": "4", "ray_version": version, "ray_commit": "x"}
            if self.path.startswith("/api/v0/nodes"):
                facts = {"result": True, "data": {"result": {"result": list(nodes)}}}
            text = (body or json.dumps(facts)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None:
            del arguments

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user has no token but the one in the file."""
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return path


def look(url: str, token_file: Path | None) -> list[Finding]:
    return list(check_job_server(url, token_file=token_file))


def test_a_cluster_as_it_should_be(token_file: Path) -> None:
    with answering() as url:
        (found,) = look(url, token_file)
    assert (found.level, found.facts) == ("ok", {"num_cpus": 8.0, "num_gpus": 1.0})


@pytest.mark.parametrize(
    ("server", "text", "remedy"),
    [
        pytest.param({"version": "2.40.0"}, "runs Ray 2.40.0, this is Ray", "have to agree", id="version"),
        pytest.param({"body": "<html>"}, "is no Ray job server", "8265", id="another server"),
    ],
)
def test_a_wrong_cluster(server: dict[str, Any], text: str, remedy: str, token_file: Path) -> None:
    with answering(**server) as url:
        (found,) = look(url, token_file)
    assert found.level == "problem"
    assert text in found.text
    assert remedy in found.remedy


def test_tokens(token_file: Path) -> None:
    with answering() as url:
        (missing,) = look(url, None)
        token_file.write_text("w" * 32)
        (wrong,) = look(url, token_file)
    assert "asks for a token" in missing.text
    assert "refuses this user" in wrong.text
    assert "--token-file" in missing.remedy
    assert "--token-file" in wrong.remedy
    assert "w" * 32 not in wrong.text + wrong.remedy


def test_a_token_that_others_can_read(token_file: Path) -> None:
    token_file.chmod(0o644)
    with answering() as url:
        warned, fine = look(url, token_file)
    assert (warned.level, fine.level) == ("warning", "ok")
    assert warned.remedy == f"chmod 600 {token_file}"


def test_an_open_cluster(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(asks=False) as url:
        assert [each.level for each in look(url, token_file)] == ["warning", "ok"], "on this machine"
        monkeypatch.setattr(job_server, "is_loopback", lambda _: False)
        found, _ = look(url, token_file)
    assert found.level == "problem"
    assert "run code" in found.text


def test_a_cluster_without_workers(token_file: Path) -> None:
    with answering(nodes=(HEAD,)) as url:
        (found,) = look(url, token_file)
    assert found.level == "warning"
    assert "no node that computes" in found.text


def test_nobody_answers(token_file: Path) -> None:
    (port,) = free_ports(1)
    (found,) = look(f"http://127.0.0.1:{port}", token_file)
    assert found.level == "problem"
    assert "no cluster answers" in found.text
    assert "check --address" in found.remedy
