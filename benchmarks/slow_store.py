"""A true S3 server whose answers come late, as from the other end of a network."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import common  # noqa: F401  # lets scripts import `tests`

from tests.s3_servers import S3Server, ceph_is_installed, ceph_server, free_ports, moto_server


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """Hand on bytes in order, each when its delay is over."""
    loop = asyncio.get_running_loop()
    while body := await reader.read(65536):
        loop.call_later(delay_s, writer.write, body)
    loop.call_later(delay_s, writer.close)


async def _serve(port: int, target_port: int, latency_s: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", target_port)
        await asyncio.gather(_relay(reader, back_writer, 0.0), _relay(back_reader, writer, latency_s))

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


def _run_proxy(port: int, target_port: int, latency_s: float) -> None:
    asyncio.run(_serve(port, target_port, latency_s))


@contextlib.contextmanager
def slowed(server: S3Server, latency_s: float) -> Iterator[S3Server]:
    """The same server, every answer later by `latency_s`."""
    (port,) = free_ports(1)
    arguments = (port, urlsplit(server.url).port, latency_s)
    process = multiprocessing.get_context("spawn").Process(target=_run_proxy, args=arguments, daemon=True)
    process.start()
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                break
            time.sleep(0.05)
        yield replace(server, url=f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.join()


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Ceph's gateway where it is installed, else moto, with the environment pointing at it."""
    with (ceph_server if ceph_is_installed() else moto_server)(folder / "server") as server:
        os.environ.update(server.environment)
        yield server
