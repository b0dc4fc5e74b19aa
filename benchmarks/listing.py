"""Listing an S3 prefix in 20 parallel ranges against listing it page after page.

    python benchmarks/listing.py [--keys 100000] [--latency-ms 30] [--json]

Both list Ceph's object gateway (moto where that is not installed) through a proxy on loopback that answers
later by the latency: on one machine a server answers in no time that a network would need. Keys lie flat
below one prefix, or nested in folders by day and camera.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from common import Claim, argument_parser, report

from jobs.storage import Access, open_store
from tests.s3_files import client, new_bucket
from tests.s3_servers import S3Server, ceph_is_installed, ceph_server, free_ports, moto_server

MIN_RATIO = 3.0
SHAPES = {
    "flat": lambda i: f"flat/frame-{i:010d}.jpg",
    "nested": lambda i: f"nested/2026-03-{i // 10_000 % 28 + 1:02d}/cam-{i // 1000 % 10}/{i:010d}.jpg",
}


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


def _put_all(port: int, bucket: str, keys: list[str]) -> None:
    """Put one byte under each key, unsigned: the bucket is open to all while it is filled."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for key in keys:
        connection.request("PUT", f"/{bucket}/{quote(key)}", body=b"x")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, f"PUT {key}: {answer.status}"


def fill(server: S3Server, bucket: str, keys: list[str]) -> None:
    client(server).put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    put = partial(_put_all, urlsplit(server.url).port, bucket)
    workers = 4
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(put, [keys[worker::workers] for worker in range(workers)]))


def list_serially(server: S3Server, bucket: str, prefix: str) -> tuple[float, list[str]]:
    """Seconds and keys of boto3's own page after page."""
    started = time.perf_counter()
    pages = client(server).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return time.perf_counter() - started, keys


def list_in_ranges(server: S3Server, bucket: str, prefix: str) -> tuple[float, list[str]]:
    """Seconds and keys of the store that jobs use."""
    store = open_store("s3://", Access(endpoint_url=server.url))
    started = time.perf_counter()
    keys = [found.uri.removeprefix(f"s3://{bucket}/") for found in store.walk(f"s3://{bucket}/{prefix}")]
    return time.perf_counter() - started, keys


def main() -> None:
    """Fill a bucket, list it both ways, and compare."""
    parser = argument_parser("listing", __doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="of each shape")
    parser.add_argument("--latency-ms", type=float, default=30.0)
    asked = parser.parse_args()
    claims, details = [], {}
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name)) as server:
        bucket = new_bucket(server)
        for key in SHAPES.values():
            fill(server, bucket, [key(i) for i in range(asked.keys)])
        with slowed(server, asked.latency_ms / 1000) as slow:
            for shape in SHAPES:
                serial_s, expected = list_serially(slow, bucket, f"{shape}/")
                parallel_s, keys = list_in_ranges(slow, bucket, f"{shape}/")
                assert keys == expected, f"the listings of {shape}/ differ"
                ratio = serial_s / parallel_s
                details[shape] = {"serial_s": round(serial_s, 2), "parallel_s": round(parallel_s, 2)}
                claims.append(
                    Claim(
                        f"listing {asked.keys:,} {shape} keys by 20 requests at once, against serially, "
                        f"{asked.latency_ms:g} ms an answer",
                        f"at least {MIN_RATIO:g} times as fast",
                        f"{ratio:.1f} times ({parallel_s:.1f} s against {serial_s:.1f} s)",
                        ratio >= MIN_RATIO,
                    )
                )
    report("listing", claims, {"server": server.kind, "shapes": details}, asked.json)


if __name__ == "__main__":
    main()
