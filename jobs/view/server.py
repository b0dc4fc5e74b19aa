"""The page's server: on loopback, behind a token in the path, a thread a connection.

The standard library's server is enough for one reader's browser on the same machine, and everything that it
calls blocks: decoding, DuckDB, storage. `jobs.view.guard` says who is answered.
"""

from __future__ import annotations

import json
import secrets
import socketserver
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cvcore.errors import SpecError, VeedorError
from jobs.report.row_pictures import PictureMissing
from jobs.view.filters import Filter, parse_filter
from jobs.view.guard import Refusal, check_request
from jobs.view.page import page_policy, render_view
from jobs.view.session import ViewSession
from jobs.view.turns import Turns

LOOPBACK = "127.0.0.1"
SOCKET_TIMEOUT_S = 30
HTML, JSON, JPEG, TEXT = (
    "text/html; charset=utf-8",
    "application/json",
    "image/jpeg",
    "text/plain; charset=utf-8",
)
KEPT = "private, max-age=86400, immutable"
"""How long a browser keeps pictures: the token changes with each session."""


class ViewServer(ThreadingHTTPServer):
    """Serves one session on loopback, from when it is made; `serve_forever` answers.

    Args:
        session: what is asked.
        port: 0 for any free one.

    Raises:
        SpecError: if the port is in use or not allowed.
    """

    daemon_threads = True

    def __init__(self, session: ViewSession, *, port: int = 0) -> None:
        self.session = session
        self.turns = Turns()
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise SpecError(f"port {port} cannot be used ({error}): name another with --port") from error

    def server_bind(self) -> None:
        """As its base, without looking up the machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def server_close(self) -> None:
        """Answer what was asked, then no more: the session can be closed after it."""
        super().server_close()
        self.turns.end()

    def url(self, chosen: Filter | None = None) -> str:
        """The page's address, which opens it on a selection."""
        query = (chosen or Filter()).as_query()
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/{f'?{query}' if query else ''}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that the browser drops are no news."""
        del request, client_address
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "veedor", ""
    timeout = SOCKET_TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(
            "GET",
            {"": self._page, "images": self._images},
            {
                "image": self._image,
                "thumb": self._thumb,
                "picture": self._picture,
            },
        )

    def do_POST(self) -> None:
        self._answer("POST", {"save": self._save}, {"decide": self._decide})

    def _answer(
        self, method: str, plain: dict[str, Callable[[], None]], numbered: dict[str, Callable[[int], None]]
    ) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        refusal = check_request(method, self.path, headers, token=self.server.token)
        if refusal is not None:
            self._refuse(refusal)
            return
        with self.server.turns.take() as is_given:
            if is_given:
                self._answer_asked(plain, numbered)
            else:
                self._refuse(Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "veedor view was stopped"))

    def _answer_asked(
        self, plain: dict[str, Callable[[], None]], numbered: dict[str, Callable[[int], None]]
    ) -> None:
        _, _, rest = urlsplit(self.path).path.lstrip("/").partition("/")
        name, _, number = rest.partition("/")
        if "/" not in urlsplit(self.path).path.lstrip("/"):
            self._refuse(Refusal(HTTPStatus.NOT_FOUND, "use the whole address that veedor view printed"))
            return
        try:
            if name in plain and not number:
                plain[name]()
            elif name in numbered and number.isascii() and number.isdigit() and len(number) < 19:
                numbered[name](int(number))
            else:
                self._refuse(Refusal(HTTPStatus.NOT_FOUND, "there is nothing here"))
        except PictureMissing as error:
            self._refuse(Refusal(HTTPStatus.NOT_FOUND, str(error)))
        except VeedorError as error:
            self._refuse(Refusal(HTTPStatus.BAD_REQUEST, str(error)))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # one question's defect is not the end of the page
            traceback.print_exc()
            self._refuse(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}"))

    def _page(self) -> None:
        self._send(render_view(self.server.session.facts).encode(), HTML, policy=page_policy())

    def _images(self) -> None:
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=False, max_num_fields=1000)
        number = query.get("page", ["0"])[-1]
        if not number.isascii() or not number.isdigit() or len(number) > 15:
            raise SpecError(f"a page is known by its number, not by {number!r}")
        self._send_json(
            self.server.session.page(parse_filter(query), int(number), fresh=query.get("fresh") == ["1"])
        )

    def _image(self, number: int) -> None:
        self._send_json(self.server.session.image(number))

    def _thumb(self, number: int) -> None:
        self._send(self.server.session.pictures.small(number), JPEG, cache=KEPT)

    def _picture(self, number: int) -> None:
        self._send(self.server.session.pictures.large(number), JPEG, cache=KEPT)

    def _decide(self, number: int) -> None:
        content = self._body()
        decisions = content.get("decisions") if isinstance(content, dict) else None
        if not isinstance(decisions, list) or not all(isinstance(each, dict) for each in decisions):
            raise SpecError("the body is {decisions: [{verdict, number, label}, …]}")
        self._send_json(self.server.session.decide(number, decisions))

    def _save(self) -> None:
        self._body()
        self._send_json(self.server.session.save())

    def _body(self) -> Any:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"the body is not JSON: {error}") from error

    def _send_json(self, content: dict[str, Any]) -> None:
        self._send(json.dumps(content, separators=(",", ":"), allow_nan=False).encode(), JSON)

    def _refuse(self, refusal: Refusal) -> None:
        self.close_connection = True  # a body may be left unread
        self._send(refusal.message.encode(), TEXT, status=refusal.status)

    def _send(
        self,
        body: bytes,
        kind: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        cache: str = "no-store",
        policy: str = "default-src 'none'; frame-ancestors 'none'",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", cache)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing: a line a picture is of no use."""
