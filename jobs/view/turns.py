"""Who is being answered: an end waits for them, and lets no one else in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Turns of any number of threads, until they end. Safe for several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_open = 0
        self._has_ended = False

    @contextmanager
    def take(self) -> Iterator[bool]:
        """A turn: whether it is given, which it is until `end` is called."""
        with self._changed:
            is_given = not self._has_ended
            self._num_open += is_given
        try:
            yield is_given
        finally:
            with self._changed:
                self._num_open -= is_given
                self._changed.notify_all()

    def end(self) -> None:
        """Give no more turns, and wait for those that were given."""
        with self._changed:
            self._has_ended = True
            self._changed.wait_for(lambda: not self._num_open)
