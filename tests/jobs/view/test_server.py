"""Who is answered: the page's own browser; nobody without the token, and no other site."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jobs.storage import Access
from jobs.view.guard import check_request
from jobs.view.server import ViewServer
from jobs.view.session import open_view
from tests.exchange import make_rows, write_run

TOKEN = "secret-token"
OWN = {"host": "127.0.0.1:8000"}
POST = {**OWN, "origin": "http://127.0.0.1:8000", "content-type": "application/json", "content-length": "2"}
FOLLOWED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("GET", f"/{TOKEN}/", OWN, None, id="its own"),
        pytest.param("GET", f"/{TOKEN}/images?label=car", {"host": "localhost:9000"}, None, id="a tunnel's"),
        pytest.param("GET", f"/{TOKEN}/", {"host": "[::1]:9000"}, None, id="of version 6"),
        pytest.param("GET", "/", OWN, 404, id="no token"),
        pytest.param("GET", f"/{TOKEN}x/", OWN, 404, id="another token"),
        pytest.param("GET", f"/x/../{TOKEN}/", OWN, 404, id="a way around"),
        pytest.param("GET", f"/{TOKEN}/", {"host": "evil.example:8000"}, 403, id="a rebound name"),
        pytest.param("GET", f"/{TOKEN}/", {"host": "127.0.0.1.evil.example"}, 403, id="a longer name"),
        pytest.param("GET", f"/{TOKEN}/", {}, 403, id="no host"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, "origin": "https://evil.example"}, 403, id="of a site"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, "origin": "null"}, 403, id="of a sandbox"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, "sec-fetch-site": "cross-site"}, 403, id="a picture"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, "sec-fetch-site": "same-site"}, 403, id="another port's"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, "sec-fetch-site": "same-origin"}, None, id="its script's"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, **FOLLOWED}, None, id="a link that is followed"),
        pytest.param("GET", f"/{TOKEN}/", {**OWN, **FOLLOWED, "sec-fetch-dest": "iframe"}, 403, id="a frame"),
        pytest.param("POST", f"/{TOKEN}/save", POST, None, id="its own word"),
        pytest.param("POST", f"/{TOKEN}/save", {**POST, "origin": "http://127.0.0.1:1"}, 403, id="of a port"),
        pytest.param(
            "POST", f"/{TOKEN}/save", {k: v for k, v in POST.items() if k != "origin"}, 403, id="of nobody"
        ),
        pytest.param("POST", f"/{TOKEN}/save", {**POST, "content-type": "text/plain"}, 415, id="a form's"),
        pytest.param("POST", f"/{TOKEN}/save", {**POST, "content-length": "-1"}, 411, id="no length"),
        pytest.param("POST", f"/{TOKEN}/save", {**POST, "content-length": str(2**30)}, 413, id="a flood"),
    ],
)
def test_requests(method: str, path: str, headers: dict[str, str], status: int | None) -> None:
    refusal = check_request(method, path, headers, token=TOKEN)
    assert (refusal and int(refusal.status)) == status


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewServer]:
    folder = tmp_path_factory.mktemp("served")
    rows = make_rows(folder, write_images=True)
    Path(rows[3]["uri"]).unlink()
    for row in rows:
        row["etag"] = ""
    run = write_run(folder, rows)
    session = open_view(str(run), who="ann", access=Access())
    served = ViewServer(session)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()
    session.close()


def ask(server: ViewServer, path: str, *, method: str = "GET", body: Any = None, **headers: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    if method == "POST":
        headers = {
            "Origin": f"http://127.0.0.1:{server.server_port}",
            "Content-Type": "application/json",
        } | headers
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_only_loopback_is_bound(server: ViewServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert len(server.token) >= 32
    assert ask(server, "/").status == 404
    assert ask(server, f"/{server.token}").status == 404
    assert ask(server, f"/{server.token}/", Host="evil.example").status == 403


def test_the_page_lets_nothing_out(server: ViewServer) -> None:
    page = ask(server, f"/{server.token}/")
    assert page.status == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert b"http://" not in page.body.replace(b"http://www.w3.org/2000/svg", b"")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("images?page=0", 200, '"total":7'),
        ("images?page=99999999", 200, '"cards":[]'),
        ("images?page=-1", 400, "a page is known by its number"),
        ("images?order=nope", 400, "no order 'nope'"),
        ("image/0", 200, '"objects":['),
        ("image/99", 400, "no image 99"),
        ("image/x", 404, "nothing here"),
        ("image/" + "9" * 30, 404, "nothing here"),
        ("thumb/2", 404, "This input could not be read."),
        ("thumb/3", 404, "The picture cannot be shown"),
        ("nope", 404, "nothing here"),
        ("../../etc/passwd", 404, "nothing here"),
    ],
)
def test_answers(server: ViewServer, path: str, status: int, words: str) -> None:
    answer = ask(server, f"/{server.token}/{path}")
    assert answer.status == status
    assert words in answer.body.decode()


def test_an_end_waits_for_what_was_asked_and_answers_no_more(tmp_path: Path) -> None:
    session = open_view(str(write_run(tmp_path, make_rows(tmp_path))), who="ann", access=Access())
    is_asked, may_go_on = threading.Event(), threading.Event()
    with ViewServer(session) as served, ThreadPoolExecutor(max_workers=3) as threads:
        page = session.page

        def slow(*arguments: Any, **named: Any) -> Any:
            is_asked.set()
            assert may_go_on.wait(20)
            return page(*arguments, **named)

        session.page = slow  # type: ignore[method-assign]
        threads.submit(served.serve_forever, poll_interval=0.01)
        kept = http.client.HTTPConnection("127.0.0.1", served.server_port, timeout=20)
        kept.request("GET", f"/{served.token}/image/0")
        assert kept.getresponse().read()
        asked = threads.submit(ask, served, f"/{served.token}/images?page=0")
        assert is_asked.wait(20)
        served.shutdown()
        end = threads.submit(served.server_close)
        time.sleep(0.05)
        assert not end.done()
        may_go_on.set()
        assert asked.result(20).status == 200
        end.result(20)
        session.close()
        kept.request("GET", f"/{served.token}/image/0")
        late = kept.getresponse()
        assert (late.status, late.read()) == (503, b"veedor view was stopped")


def test_pictures_are_kept_by_the_browser_alone(server: ViewServer) -> None:
    for name in ("thumb", "picture"):
        answer = ask(server, f"/{server.token}/{name}/0")
        assert answer.body[:2] == b"\xff\xd8"
        assert "private" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{", "is not JSON"),
        ("[" * 5000, "is not JSON"),
        ("[]", "the body is {decisions"),
        ('{"decisions": [1]}', "the body is {decisions"),
        ('{"decisions": [{"verdict": "accept", "number": true}]}', "known by its number"),
    ],
)
def test_bodies_that_are_none(server: ViewServer, body: str, words: str) -> None:
    answer = ask(server, f"/{server.token}/decide/0", method="POST", body=body)
    assert answer.status == 400
    assert words in answer.body.decode()


def test_one_connection_asks_again_and_again(server: ViewServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    for _ in range(3):
        connection.request("GET", f"/{server.token}/image/0")
        assert json.loads(connection.getresponse().read())["n"] == 0
    connection.close()
