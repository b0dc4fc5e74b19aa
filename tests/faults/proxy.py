"""A proxy on loopback before an S3 server, which answers some calls wrongly, late or not at all.

It forwards requests byte for byte, `Host` included, so that servers which check signatures accept them.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from tests.s3_servers import S3Server, free_ports

Kind = Literal[
    "slow_down",  # 503, the store is busy
    "conflict",  # 409 to a conditional PUT
    "internal_error",  # 500
    "reset",  # the connection is reset before an answer, and nothing took effect
    "lost_answer",  # a PUT takes effect, then the connection is reset
    "cut",  # half of a GET's body, then the end
    "corrupt",  # bytes of a GET's body are others
    "corrupt_put",  # bytes of a PUT's body are others
    "stall",  # the call takes effect at once, its answer comes late
    "expired",  # 400 ExpiredToken
    "denied",  # 403 AccessDenied to a PUT
    "quota",  # 403 QuotaExceeded to a PUT
]
PASSING: tuple[Kind, ...] = (
    "slow_down",
    "conflict",
    "internal_error",
    "reset",
    "lost_answer",
    "cut",
    "corrupt",
    "corrupt_put",
)
ERRORS: dict[Kind, tuple[int, str]] = {
    "slow_down": (503, "SlowDown"),
    "conflict": (409, "ConditionalRequestConflict"),
    "internal_error": (500, "InternalError"),
    "expired": (400, "ExpiredToken"),
    "denied": (403, "AccessDenied"),
    "quota": (403, "QuotaExceeded"),
}
READ_LIMIT = 2**26


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived: its number, the monotonic time, and what was done to it."""

    number: int
    at_s: float
    method: str
    target: str
    conditional: bool
    fault: Kind | None = None

    def suffers(self, kind: Kind) -> bool:
        """Whether a fault makes sense for this call."""
        if kind == "conflict":
            return self.method == "PUT" and self.conditional
        if kind in ("lost_answer", "corrupt_put", "denied", "quota"):
            return self.method == "PUT"
        return self.method == "GET" if kind in ("cut", "corrupt") else True


Choice = Callable[[Call], Kind | None]


def never(call: Call) -> Kind | None:
    """No faults."""
    del call
    return None


def at_random(kinds: Sequence[Kind], rate: float, seed: int) -> Choice:
    """A share `rate` of the calls suffers one of the faults that apply to it."""
    rng = random.Random(seed)

    def choose(call: Call) -> Kind | None:
        applicable = [kind for kind in kinds if call.suffers(kind)]
        return rng.choice(applicable) if applicable and rng.random() < rate else None

    return choose


def between(kind: Kind, first: int, last: float = float("inf")) -> Choice:
    """Each call to which the fault applies, from one number to before another."""
    return lambda call: kind if first <= call.number < last and call.suffers(kind) else None


class FaultProxy:
    """A running proxy; `choose` may be set at any time, `calls` grows with each request."""

    def __init__(self, server: S3Server) -> None:
        (port,) = free_ports(1)
        self.server = replace(server, url=f"http://127.0.0.1:{port}")
        self.choose: Choice = never
        self.calls: list[Call] = []
        self.stall_s = 30.0
        self._upstream = urlsplit(server.url)
        self._rng = random.Random(0)
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def running(self) -> Iterator[FaultProxy]:
        """Serve in a thread until the block ends."""
        thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        thread.start()
        port = urlsplit(self.server.url).port
        opening = asyncio.start_server(self._serve, "127.0.0.1", port, limit=READ_LIMIT)
        listening = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(listening), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)

    def peak_per_s(self) -> int:
        """The most requests that arrived within any one second."""
        times = sorted(call.at_s for call in self.calls)
        return max((sum(1 for t in times[i:] if t < start + 1.0) for i, start in enumerate(times)), default=0)

    def injected(self) -> int:
        """How many calls suffered a fault."""
        return sum(call.fault is not None for call in self.calls)

    async def _close(self, listening: asyncio.Server) -> None:
        listening.close()
        serving = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            async for call, head, body in self._requests(reader):
                try:
                    await self._answer(call, head, body, writer)
                except _Ended:
                    break
        writer.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader) -> AsyncIterator[tuple[Call, bytes, bytes]]:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            method, target, _ = first.split(" ")
            call = Call(len(self.calls), time.monotonic(), method, target, "if-none-match" in fields)
            call = replace(call, fault=self.choose(call))
            self.calls.append(call)
            yield call, head, body

    async def _answer(self, call: Call, head: bytes, body: bytes, writer: asyncio.StreamWriter) -> None:
        if call.fault in ERRORS:
            writer.write(_error(*ERRORS[call.fault], with_body=call.method != "HEAD"))
            return await writer.drain()
        if call.fault == "reset":
            raise _Ended
        if call.fault == "corrupt_put":
            body = self._corrupted(body)
        answered, content = await self._forward(call, head, body)
        if call.fault == "lost_answer":
            raise _Ended
        if call.fault == "stall":
            await asyncio.sleep(self.stall_s)
        if call.fault == "corrupt":
            content = self._corrupted(content)
        writer.write(answered + (content[: len(content) // 2] if call.fault == "cut" else content))
        await writer.drain()
        if call.fault == "cut":
            writer.close()
            await writer.wait_closed()
            raise _Ended
        return None

    async def _forward(self, call: Call, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        """The server's answer: its head with the length of the whole body, and the body."""
        reader, writer = await asyncio.open_connection(
            self._upstream.hostname, self._upstream.port, limit=READ_LIMIT
        )
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        writer.write(b"\r\n".join([*lines[:-2], b"Connection: close", b"", b""]) + body)
        raw = await reader.read()
        writer.close()
        answer = http.client.HTTPResponse(_Received(raw), method=call.method)  # type: ignore[arg-type]
        answer.begin()
        content = answer.read()
        kept = [
            (k, v) for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")
        ]
        if call.method != "HEAD":
            kept = [(k, v) for k, v in kept if k.lower() != "content-length"]
            kept += [("Content-Length", str(len(content)))] if answer.status != 204 else []
        fields = "".join(f"{name}: {value}\r\n" for name, value in kept)
        return f"HTTP/1.1 {answer.status} {answer.reason}\r\n{fields}\r\n".encode("latin-1"), content

    def _corrupted(self, body: bytes) -> bytes:
        changed = bytearray(body)
        for _ in range(min(len(body), 3)):
            changed[self._rng.randrange(len(body))] ^= 0xFF
        return bytes(changed)


class _Ended(Exception):
    """The connection is to be reset."""


class _Received:
    """What `http.client` needs of a socket, over bytes that have arrived."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._raw)


def _error(status: int, code: str, *, with_body: bool) -> bytes:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code>'
        "<Message>injected by the test</Message></Error>"
    ).encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + (body if with_body else b"")
