"""Listing in parallel what a store hands out page by page, in order, without knowing its shape.

One range of keys is listed; while it goes on, idle requests take parts of what is left of it, cut evenly in
the space of keys between where it is and where it ends. A cut may be bad (a part holds nothing, or nearly
all): nothing is lost or doubled by that, since ranges always cover all keys once, and parts that go on are
cut again. Cutting is done close to the reader, so that little is held that it does not want yet.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

from jobs.storage.base import ObjectInfo
from jobs.storage.key_space import KeySpace

PARTITIONS = 20
PAGES_AHEAD = 4  # of each range but the first
MAX_PAGES_HELD = 12 * PARTITIONS
MIN_PAGES_A_PART = 2


@dataclass(frozen=True, slots=True)
class Page:
    """Some objects in byte order of location; `token` continues after them, None if there are no more."""

    objects: list[ObjectInfo]
    token: str | None


Fetch = Callable[[str, str | None], Page]


def list_in_parallel(fetch: Fetch, prefix: str, *, partitions: int = PARTITIONS) -> Iterator[ObjectInfo]:
    """Yield every object below a prefix once, in byte order of location.

    Args:
        fetch: `fetch(after, token)` gets the page that `token` continues with or, without one, the first page
            of locations greater than `after` (all, if that is empty). It is called from several threads.
        prefix: what all locations begin with.
        partitions: how many pages are asked for at once.
    """
    with ThreadPoolExecutor(partitions, thread_name_prefix="veedor-listing") as pool:
        listing = _Listing(fetch, prefix, pool, partitions)
        try:
            yield from listing.objects()
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass(eq=False)
class _Range:
    """Locations greater than `start`, up to and including `end` (None: to the last one)."""

    start: str
    end: str | None
    token: str | None = None
    pages: deque[list[ObjectInfo]] = field(default_factory=deque)
    first_of_page: str | None = None
    more: bool = True
    asked: Future[Page] | None = None

    def take(self, page: Page) -> int:
        """Add the next page, less what lies beyond the end; returns how many objects are left of it."""
        objects, self.token, self.more = page.objects, page.token, page.token is not None
        if self.end is not None and objects and objects[-1].uri > self.end:
            objects, self.more = objects[: bisect_right(objects, self.end, key=lambda o: o.uri)], False
        if objects:
            self.first_of_page, self.start = objects[0].uri, objects[-1].uri
            self.pages.append(objects)
        return len(objects)


class _Listing:
    def __init__(self, fetch: Fetch, prefix: str, pool: ThreadPoolExecutor, partitions: int) -> None:
        self._fetch = fetch
        self._space = KeySpace(prefix)
        self._pool = pool
        self._partitions = partitions
        self._ranges = [_Range("", None)]
        self._num_requests = 0
        self._num_objects = 0
        self._page_size = 1

    def objects(self) -> Iterator[ObjectInfo]:
        while self._ranges:
            self._ask()
            first = self._ranges[0]
            if first.pages:
                yield from first.pages.popleft()
            elif first.asked is not None:
                wait([r.asked for r in self._ranges if r.asked is not None], return_when=FIRST_COMPLETED)
            self._take_answers()
            if not (first.pages or first.more):
                del self._ranges[0]

    def _take_answers(self) -> None:
        for each in self._ranges:
            if each.asked is not None and each.asked.done():
                page, each.asked = each.asked.result(), None
                self._num_objects += each.take(page)
                self._page_size = max(self._page_size, len(page.objects))
                self._space.see([found.uri for found in page.objects])

    def _ask(self) -> None:
        """Ask for the next pages of the ranges nearest to the reader; cut them while requests are idle."""
        idle = self._partitions - sum(r.asked is not None for r in self._ranges)
        held = sum(len(r.pages) for r in self._ranges)
        for each in list(islice(self._ranges, self._partitions)):
            is_first = each is self._ranges[0]
            room = held < MAX_PAGES_HELD and (is_first or len(each.pages) < PAGES_AHEAD)
            if not idle or each.asked is not None or not each.more or not (room or is_first):
                continue
            parts = [each]
            if room:
                parts += self._cut(each, min(idle - 1, self._spare_requests()))
            for part in parts:
                part.asked = self._pool.submit(self._fetch, part.start, part.token)
            idle -= len(parts)
            self._num_requests += len(parts)

    def _spare_requests(self) -> int:
        """How many may be risked: all requests are at most twice the pages that they gave, and a few."""
        return int(self._partitions + 2 * self._num_objects / self._page_size) - self._num_requests

    def _cut(self, each: _Range, max_parts: int) -> list[_Range]:
        """Cut parts off what is left of a range, as many as it seems to be worth."""
        if each.first_of_page is None:
            return []
        pages_left = self._space.estimate_pages(each.first_of_page, each.start, each.end)
        num_parts = min(max(0, max_parts), int(min(pages_left, MAX_PAGES_HELD) / MIN_PAGES_A_PART))
        points = self._space.between(each.start, each.end, num_parts, near=each.first_of_page)
        if not points:
            return []
        parts = [_Range(start, end) for start, end in zip(points, [*points[1:], each.end], strict=True)]
        each.end = points[0]
        at = self._ranges.index(each) + 1
        self._ranges[at:at] = parts
        return parts
