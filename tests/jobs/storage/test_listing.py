"""Listing in parallel gives what a serial listing gives, whatever the keys look like."""

from __future__ import annotations

import random
import threading
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from hashlib import md5
from typing import Any

import pytest

from jobs.storage import ObjectInfo, StorageError
from jobs.storage.s3_listing import MAX_PAGES_HELD, PARTITIONS, Page, list_in_parallel
from tests.conftest import NO_CEPH
from tests.s3_files import client, new_bucket, upload
from tests.s3_servers import S3Server, ceph_is_installed

ROOT = "s3://fleet/p/"
NUM_KEYS = 480


class FakeLister:
    """A store of keys that hands out pages, and counts."""

    def __init__(self, keys: Iterable[str], *, page_size: int, latency_s: float = 0.0) -> None:
        self.objects = [ObjectInfo(ROOT + key, "e", 1) for key in sorted(set(keys))]
        self.num_pages = -(-len(self.objects) // page_size)
        self.calls, self.most_at_once, self._at_once = 0, 0, 0
        self._page_size = page_size
        self._latency_s = latency_s
        self._lock = threading.Lock()

    def fetch(self, after: str, token: str | None) -> Page:
        with self._lock:
            self.calls, self._at_once = self.calls + 1, self._at_once + 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self._latency_s)
        first = int(token) if token else bisect_right(self.objects, after, key=lambda found: found.uri)
        last = first + self._page_size
        with self._lock:
            self._at_once -= 1
        return Page(self.objects[first:last], str(last) if last < len(self.objects) else None)


def words(seed: int, letters: str, *, count: int, longest: int) -> set[str]:
    chosen = random.Random(seed)
    return {"".join(chosen.choices(letters, k=chosen.randint(1, longest))) for _ in range(count)}


SHAPES = {
    "nothing": [],
    "one": ["a.jpg"],
    "numbered": [f"frame-{i:010d}.jpg" for i in range(NUM_KEYS)],
    "numbered without zeros": [f"{i}.jpg" for i in range(NUM_KEYS)],
    "hashed": [md5(str(i).encode()).hexdigest() for i in range(NUM_KEYS)],
    "nested": [f"2026/{i % 12:02d}/{i % 28:02d}/cam-{i % 7}/{i:06d}.png" for i in range(NUM_KEYS)],
    "one giant folder": [*"abc", *(f"m/{i:09d}.jpg" for i in range(NUM_KEYS)), *(f"z/{i}" for i in range(9))],
    "a long shared beginning": ["x" * 600 + f"{i:07d}" for i in range(NUM_KEYS)],
    "each begins the next": ["a" * length for length in range(1, NUM_KEYS)],
    "any script": words(1, "日本語écà😀0129 %+&", count=NUM_KEYS, longest=12),
    "lines and slashes": words(4, "a\n/.", count=NUM_KEYS, longest=9),
    "first and last characters": words(2, "\x01 ~\x7f\ue000\U0010fffe\U0010ffff", count=300, longest=6),
    "two letters": words(3, "ab", count=NUM_KEYS, longest=14),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("page_size", "partitions"), [(1, 20), (7, 20), (10, 3), (100, 1), (1000, 20)])
def test_each_object_comes_once_in_order(shape: str, page_size: int, partitions: int) -> None:
    lister = FakeLister(SHAPES[shape], page_size=page_size)
    assert list(list_in_parallel(lister.fetch, ROOT, partitions=partitions)) == lister.objects
    assert lister.most_at_once <= partitions


@pytest.mark.parametrize("seed", range(20))
def test_each_object_comes_once_in_order_at_random(seed: int) -> None:
    chosen = random.Random(seed)
    characters = range(32, 127) if seed % 2 else range(32, 0xD800)
    letters = "".join(map(chr, chosen.choices(characters, k=chosen.randint(1, 40))))
    keys = words(seed, letters, count=chosen.randint(1, 500), longest=chosen.randint(1, 40))
    lister = FakeLister(keys, page_size=chosen.randint(1, 50), latency_s=0.0002)
    assert list(list_in_parallel(lister.fetch, ROOT, partitions=chosen.randint(1, 30))) == lister.objects


@pytest.mark.parametrize("shape", ["numbered", "hashed", "one giant folder", "a long shared beginning"])
def test_flat_listings_use_all_requests_and_waste_few(shape: str) -> None:
    lister = FakeLister(SHAPES[shape], page_size=3, latency_s=0.03)
    started = time.monotonic()
    assert list(list_in_parallel(lister.fetch, ROOT)) == lister.objects
    assert lister.most_at_once >= PARTITIONS // 2
    assert lister.calls <= 3 * lister.num_pages
    assert time.monotonic() - started < lister.num_pages * 0.03 / 2


def test_a_slow_reader_is_not_run_away_from() -> None:
    lister = FakeLister([f"{i:06d}" for i in range(6000)], page_size=2, latency_s=0.0005)
    read = 0
    for read, _ in enumerate(list_in_parallel(lister.fetch, ROOT), 1):
        assert lister.calls < 2 * read + MAX_PAGES_HELD + 2 * PARTITIONS
    assert read == 6000


def test_a_page_without_objects_is_no_end() -> None:
    pages = {"": Page([], "1"), "1": Page([ObjectInfo(ROOT + "a", "e", 1)], None)}
    assert len(list(list_in_parallel(lambda _after, token: pages[token or ""], ROOT))) == 1


def test_a_refusal_in_any_range_ends_the_listing() -> None:
    lister = FakeLister(SHAPES["numbered"], page_size=6)

    def fetch(after: str, token: str | None) -> Page:
        if "frame-00000008" in after:
            raise StorageError("refused")
        return lister.fetch(after, token)

    with pytest.raises(StorageError, match="refused"):
        list(list_in_parallel(fetch, ROOT))


@pytest.fixture(params=["moto", "ceph"], scope="module")
def server(request: pytest.FixtureRequest) -> S3Server:
    if request.param == "ceph" and not ceph_is_installed():
        pytest.skip(NO_CEPH)
    found: S3Server = request.getfixturevalue(f"{request.param}_s3")
    return found


@pytest.mark.parametrize("shape", ["numbered", "one giant folder", "any script", "a long shared beginning"])
def test_servers_list_the_same_in_parallel_as_serially(server: S3Server, shape: str) -> None:
    keys = sorted({f"p/{key}" for key in sorted(SHAPES[shape])[::2]})
    bucket, s3 = new_bucket(server), client(server)
    upload(server, bucket, dict.fromkeys(["o", *keys, "q"], b"x"))

    def fetch(after: str, token: str | None) -> Page:
        start: dict[str, Any] = {"StartAfter": after.removeprefix("s3://fleet/")} if after else {}
        if token:
            start = {"ContinuationToken": token}
        page = s3.list_objects_v2(Bucket=bucket, Prefix="p/", MaxKeys=5, **start)
        found = [ObjectInfo("s3://fleet/" + o["Key"], "e", 1) for o in page.get("Contents", ())]
        return Page(found, page.get("NextContinuationToken"))

    assert [found.uri for found in list_in_parallel(fetch, ROOT)] == ["s3://fleet/" + key for key in keys]


def test_an_abandoned_listing_stops_asking() -> None:
    lister = FakeLister(SHAPES["numbered"], page_size=1, latency_s=0.001)
    listing: Iterator[ObjectInfo] = list_in_parallel(lister.fetch, ROOT)
    next(listing)
    listing.close()  # type: ignore[attr-defined]
    asked = lister.calls
    time.sleep(0.05)
    assert lister.calls == asked
