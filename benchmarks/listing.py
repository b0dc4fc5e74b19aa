"""Listing an S3 prefix in 20 parallel ranges against listing it page after page.

    python benchmarks/listing.py [--keys 100000] [--latency-ms 100] [--json]

The server is a process on loopback that answers each ListObjectsV2 after the latency, as stores at the other
end of a network do, and takes next to none of this machine's processor time for it: a real gateway beside the
reader would take the cores that both readers need, and hide what is compared. Keys lie flat below one prefix,
or nested in folders by day and camera.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import multiprocessing
import os
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

from common import Claim, argument_parser, report

from jobs.storage import Access, open_store
from tests.s3_files import client
from tests.s3_servers import S3Server, free_ports

MIN_RATIO = 3.0
PAGE_KEYS = 1000
BUCKET = "fleet-archive"
SHAPES: dict[str, Callable[[int], str]] = {
    "flat": lambda i: f"flat/frame-{i:010d}.jpg",
    "nested": lambda i: f"nested/2026-03-{i // 10_000 % 28 + 1:02d}/cam-{i // 1000 % 10}/{i:010d}.jpg",
}


class Listed:
    """Sorted keys, and their lines of an answer made beforehand."""

    def __init__(self, num_keys: int) -> None:
        self.keys = sorted(key(i) for key in SHAPES.values() for i in range(num_keys))
        self.lines = [
            f"<Contents><Key>{key}</Key><LastModified>2026-03-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{index:032x}&quot;</ETag><Size>100000</Size><StorageClass>STANDARD</StorageClass>"
            "</Contents>"
            for index, key in enumerate(self.keys)
        ]

    def answer(self, query: dict[str, list[str]]) -> bytes:
        """One page as ListObjectsV2 gives it; a token is the last key of the page before."""
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        start = bisect_right(self.keys, max(after, prefix))
        end = bisect_right(self.keys, prefix + "\U0010ffff")
        stop = min(start + PAGE_KEYS, end)
        more = stop < end
        token = f"<NextContinuationToken>{self.keys[stop - 1]}</NextContinuationToken>" if more else ""
        head = f"<Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        return f"<ListBucketResult>{head}{''.join(self.lines[start:stop])}</ListBucketResult>".encode()


async def _serve(port: int, num_keys: int, latency_s: float) -> None:
    listed = Listed(num_keys)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                target = head.split(b" ", 2)[1].decode()
                await asyncio.sleep(latency_s)
                body = listed.answer(parse_qs(urlsplit(target).query))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    await server.serve_forever()


def _run_server(port: int, num_keys: int, latency_s: float) -> None:
    asyncio.run(_serve(port, num_keys, latency_s))


@contextlib.contextmanager
def far_server(num_keys: int, latency_s: float) -> Iterator[S3Server]:
    """The server, with the environment pointing at it."""
    (port,) = free_ports(1)
    process = multiprocessing.get_context("spawn").Process(
        target=_run_server, args=(port, num_keys, latency_s), daemon=True
    )
    process.start()
    server = S3Server("far", f"http://127.0.0.1:{port}")
    os.environ.update(server.environment)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
                break
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.join()


def list_serially(server: S3Server, prefix: str) -> tuple[float, list[str]]:
    """Seconds and keys of boto3's own page after page."""
    started = time.perf_counter()
    pages = client(server).get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
    return time.perf_counter() - started, keys


def list_in_ranges(server: S3Server, prefix: str) -> tuple[float, list[str]]:
    """Seconds and keys of the store that jobs use."""
    store = open_store("s3://", Access(endpoint_url=server.url))
    started = time.perf_counter()
    keys = [found.uri.removeprefix(f"s3://{BUCKET}/") for found in store.walk(f"s3://{BUCKET}/{prefix}")]
    return time.perf_counter() - started, keys


def main() -> None:
    """List a bucket both ways, and compare."""
    parser = argument_parser("listing", __doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="of each shape")
    parser.add_argument("--latency-ms", type=float, default=100.0)
    asked = parser.parse_args()
    claims, details = [], {}
    with far_server(asked.keys, asked.latency_ms / 1000) as server:
        for shape in SHAPES:
            serial_s, expected = list_serially(server, f"{shape}/")
            parallel_s, keys = list_in_ranges(server, f"{shape}/")
            assert keys == expected, f"the listings of {shape}/ differ"
            assert len(keys) == asked.keys
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
    report("listing", claims, {"shapes": details}, asked.json)


if __name__ == "__main__":
    main()
