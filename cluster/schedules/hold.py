"""Giving signs of life while something else is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from threading import Event, Thread

from jobs.storage import StorageError


@contextlib.contextmanager
def signs_of_life(give: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Call `give` every so many seconds, from a thread, until the block is left.

    A store that fails for a while is asked again the next time; who takes over meanwhile does no harm.
    """
    over = Event()

    def keep_giving() -> None:
        while not over.wait(every_s):
            with contextlib.suppress(StorageError):
                give()

    thread = Thread(target=keep_giving, name="veedor-signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(every_s)
