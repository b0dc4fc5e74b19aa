"""What waits in vain for a node that is lost.

Ray starts a lost actor again where there is room. Where there is none it waits, and so do the units that were
under way in it: for ever, unless a new node comes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event, Thread

import ray

LOOK_EVERY_S = 2.0
PATIENCE_S = 30.0


@dataclass
class LossWatch:
    """Decides when a pool has waited long enough. Times are seconds of one clock.

    Attributes:
        nodes: those that were alive when last looked.
        published_s: when a unit was last published, or the pool began.
        longest_s: that nothing was published for, before a node was lost.
        lost_s: when one was found missing, unless that has been acted upon.
    """

    nodes: frozenset[str]
    published_s: float
    longest_s: float = 0.0
    lost_s: float | None = None

    @property
    def patience_s(self) -> float:
        """Without a unit published since a node was lost: more where units take long."""
        return max(PATIENCE_S, 2 * self.longest_s)

    def publish(self, *, now: float) -> None:
        """Note that a unit is published."""
        if self.lost_s is None:
            self.longest_s = max(self.longest_s, now - self.published_s)
        self.published_s = now

    def look(self, alive: frozenset[str], *, now: float) -> bool:
        """Note which nodes are alive; whether what waits has to be ended, once for each loss."""
        if self.nodes - alive:
            self.lost_s = now
        self.nodes = alive
        if self.lost_s is None or now - max(self.lost_s, self.published_s) < self.patience_s:
            return False
        self.lost_s = None
        return True


@contextlib.contextmanager
def ending_what_waits(end: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call `end` from a thread, when nodes were lost and nothing is published any more.

    Yields a function to call for each unit that is published.
    """
    watch, stop = LossWatch(alive_nodes(), published_s=time.monotonic()), Event()

    def published() -> None:
        watch.publish(now=time.monotonic())

    def look() -> None:
        while not stop.wait(LOOK_EVERY_S):
            with contextlib.suppress(ray.exceptions.RayError):
                if watch.look(alive_nodes(), now=time.monotonic()):
                    end()

    thread = Thread(target=look, name="veedor-lost-nodes", daemon=True)
    thread.start()
    try:
        yield published
    finally:
        stop.set()
        thread.join()


def alive_nodes() -> frozenset[str]:
    """Ids of the cluster's nodes."""
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])
