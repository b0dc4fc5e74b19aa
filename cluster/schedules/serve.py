"""Ticking again and again, for machines without cron: a process of its own for each schedule that is due.

The server itself only looks. What it starts is the same command that cron would, so that a job that dies, or
takes long, harms neither the server nor other schedules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cluster.schedules.decide import Attempt, Close, Step
from cvcore.errors import VeedorError
from jobs.progress import Listener


class Child(Protocol):
    """A process that was started."""

    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...

    def wait(self) -> int: ...


def to_start(steps: Mapping[str, Step], busy: Sequence[str], *, at_once: int) -> list[str]:
    """Names of schedules that a process is to be started for now, so that at most `at_once` have one."""
    waiting = [name for name, step in steps.items() if isinstance(step, Attempt | Close) and name not in busy]
    return waiting[: max(0, at_once - len(busy))]


class Server:
    """Looks at all schedules every `every_s` seconds until it is asked to stop.

    Args:
        look: what is to be done about each schedule now.
        start: a process that ticks one schedule.
        pause: waits so many seconds; whether it was asked to stop meanwhile.
        listener: told of what is done.
        every_s: between looks.
        at_once: how many processes there may be.
    """

    def __init__(
        self,
        look: Callable[[], Mapping[str, Step]],
        start: Callable[[str], Child],
        pause: Callable[[float], bool],
        *,
        listener: Listener,
        every_s: float,
        at_once: int,
    ) -> None:
        self._look = look
        self._start = start
        self._pause = pause
        self._listener = listener
        self._every_s = every_s
        self._at_once = at_once
        self._children: dict[str, Child] = {}

    def serve(self) -> None:
        """Return when asked to stop, and all processes with it: they were asked too, and have ended."""
        try:
            while True:
                self._look_once()
                if self._pause(self._every_s):
                    return
        finally:
            for child in self._children.values():
                child.terminate()
            for child in self._children.values():
                child.wait()

    def _look_once(self) -> None:
        for name, child in list(self._children.items()):
            code = child.poll()
            if code is not None:
                del self._children[name]
                self._listener.step(f"{name}: its process ended with {code}", schedule=name, exit_code=code)
        try:
            steps = self._look()
        except VeedorError as error:  # a store that is away for a while is asked again
            self._listener.step(f"Warning: {error}")
            return
        for name in to_start(steps, list(self._children), at_once=self._at_once):
            self._children[name] = self._start(name)
