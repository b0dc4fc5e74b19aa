"""What answers at an address, and what is said of anything but a cluster of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import ray

from cluster.remote.connect import Cluster, connect
from cvcore.errors import SpecError
from tests.s3_servers import free_ports

TOKEN = "t0ken-of-the-test"
VERSION = {"ray_version": ray.__version__, "version": "4"}
Serve = Callable[..., str]


class _Handler(BaseHTTPRequestHandler):
    status: int
    body: str
    token: str | None
    asked: list[str | None]

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        type(self).asked.append(given)
        status = self.status
        if self.token is not None and given != f"Bearer {self.token}":
            status = 401 if given is None else 403
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.body.encode())

    def log_message(self, *arguments: object) -> None:
        del arguments


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that give one answer to all; returns their addresses."""
    servers = []

    def start(body: str = json.dumps(VERSION), *, status: int = 200, token: str | None = None) -> str:
        handler = type("Handler", (_Handler,), {"status": status, "body": body, "token": token, "asked": []})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return []


def reach(address: str, said: list[str], *, insecure: bool = False) -> Cluster:
    return connect(address, insecure=insecure, say=said.append)


def test_a_cluster_of_this_version_is_reached(serve: Serve, said: list[str]) -> None:
    url = serve()
    cluster = reach(url, said)
    assert (cluster.url, cluster.token, cluster.local) == (url, None, None)
    assert cluster.client.get_address() == url
    assert said == []


def test_what_is_given_goes_before_the_environment_to_the_last_request(
    serve: Serve, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, other = serve(), serve("not to be asked", status=500)
    monkeypatch.setenv("RAY_ADDRESS", other)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", other)
    assert reach(url, said).client.get_address() == url


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param(
            '{"ray_version": "2.40.0"}',
            200,
            ["runs Ray 2.40.0", f"this is Ray {ray.__version__}"],
            id="version",
        ),
        pytest.param(
            "<html>Welcome</html>", 200, ["is no Ray job server (status 200)", "8265"], id="a web page"
        ),
        pytest.param("not found", 404, ["is no Ray job server (status 404)"], id="not found"),
        pytest.param("", 302, ["is no Ray job server (status 302)"], id="redirect"),
        pytest.param("[]", 200, ["is no Ray job server"], id="other JSON"),
    ],
)
def test_what_is_no_cluster_of_ours_is_refused(
    body: str, status: int, words: list[str], serve: Serve, said: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        reach(serve(body, status=status), said)
    for word in words:
        assert word in str(caught.value)


def test_nothing_that_answers_is_said_with_the_address(said: list[str]) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(SpecError, match=rf"no cluster answers at {url} \(.*[Rr]efused"):
        reach(url, said)
    with pytest.raises(SpecError, match=r"no cluster answers at http://no-such-host\.invalid:8265"):
        reach("no-such-host.invalid", said, insecure=True)


def test_a_token_is_asked_for_used_and_found_wrong(
    serve: Serve, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = serve(token=TOKEN)
    with pytest.raises(SpecError, match=r"asks for a token: give .* --token-file FILE"):
        reach(url, said)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(SpecError, match="the token from RAY_AUTH_TOKEN is another's"):
        reach(url, said)
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert reach(url, said).token is not None


def test_beyond_this_machine_a_token_is_needed_before_anything_is_sent(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr("requests.get", lambda url, **_: sent.append(url))
    with pytest.raises(SpecError, match=r"there is no token for it: .*--insecure does without"):
        reach("http://192.0.2.7:8265", said)
    assert sent == []


def test_a_token_in_the_open_is_warned_of(
    serve: Serve, said: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    reach(serve(token=TOKEN), said)
    assert said == [f"Warning: other users can read the token in {path}: chmod 600 {path}"]
    path.chmod(0o600)
    said.clear()
    with pytest.raises(SpecError):
        reach("http://no-such-host.invalid:8265", said)
    assert "unencrypted" in said[0]
    assert TOKEN not in said[0]


def test_a_proxy_elsewhere_is_not_asked_for_what_is_here(
    serve: Serve, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "example.com")
    assert reach(serve(), said).url
