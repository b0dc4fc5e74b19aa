"""Follow a run from the driver through the history that its first worker keeps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from jobs.train_record import EpochRecord
from jobs.train_spec import EpochsTrainSpec
from jobs.train_state import read_history

OnEpoch = Callable[[EpochRecord], None]
POLL_S = 2.0


@contextlib.contextmanager
def watch_history(spec: EpochsTrainSpec, on_epoch: OnEpoch | None, *, done: int) -> Iterator[None]:
    """Call `on_epoch` for each epoch after the first `done`, while the block runs and at its end."""
    if on_epoch is None:
        yield
        return
    told, ended = done, threading.Event()

    def tell() -> None:
        nonlocal told
        fresh = read_history(spec)[told:]
        told += len(fresh)
        for record in fresh:
            on_epoch(record)

    def follow() -> None:
        while not ended.wait(POLL_S):
            tell()

    follower = threading.Thread(target=follow, name="train-history", daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()
        tell()
