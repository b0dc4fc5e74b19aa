"""Work that takes too long or too much ends its process, and is recorded first."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.stages import guard as guard_module
from jobs.stages.guard import Guard, InputBounds

MB = 2**20


def sleep_long() -> None:
    time.sleep(60)


def eat_memory() -> None:
    eaten = []
    while True:
        eaten.append(bytearray(b"x" * (16 * MB)))
        time.sleep(0.01)


def hold_the_interpreter() -> None:
    ctypes.PyDLL(None).sleep(60)  # native code that never lets another thread run


def _child(work: Callable[[], None], note: str, bounds: InputBounds) -> None:
    guard_module.KERNEL_GRACE_S = 0.2
    guard = Guard(bounds, lambda row, reason: Path(note).write_text(f"{row} {reason}") and None)
    with guard.on(3):
        pass
    time.sleep(0.3)  # nothing is watched: no end
    with guard.on(4):
        work()


@pytest.mark.parametrize(
    ("work", "ending", "noted"),
    [
        pytest.param(sleep_long, signal.SIGKILL, "4 too_slow", id="hangs"),
        pytest.param(eat_memory, signal.SIGKILL, "4 too_much_memory", id="eats memory"),
        pytest.param(hold_the_interpreter, signal.SIGALRM, None, id="hangs in native code"),
    ],
)
def test_what_exceeds_its_bounds_ends_its_process(
    work: Callable[[], None], ending: signal.Signals, noted: str | None, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    seconds = 30.0 if work is eat_memory else 0.4
    bounds = InputBounds(max_seconds=seconds, max_memory=200 * MB)
    child = multiprocessing.get_context("spawn").Process(target=_child, args=(work, str(note), bounds))
    child.start()
    child.join(30)
    assert child.exitcode == -ending
    assert (note.read_text() if note.exists() else None) == noted


def test_a_process_that_was_stopped_for_a_while_blames_no_input(tmp_path: Path) -> None:
    note, done = tmp_path / "note", tmp_path / "done"
    bounds = InputBounds(max_seconds=1.0, max_memory=2**40)
    child = multiprocessing.get_context("spawn").Process(target=_nap, args=(str(note), str(done), bounds))
    child.start()
    assert child.pid is not None
    deadline = time.monotonic() + 30
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(child.pid, signal.SIGCONT)
    child.join(30)
    assert child.exitcode == 0
    assert note.read_text() == "begun"
    assert done.exists()


def _nap(note: str, done: str, bounds: InputBounds) -> None:
    guard = Guard(bounds, lambda row, reason: Path(note).write_text(f"{row} {reason}") and None)
    with guard.on(1):
        Path(note).write_text("begun")
        time.sleep(0.4)
    Path(done).touch()


def test_several_inputs_at_once_have_the_time_of_all_and_blame_none() -> None:
    ended, recorded = threading.Event(), []
    guard = Guard(
        InputBounds(max_seconds=0.3, max_memory=2**40),
        lambda row, reason: recorded.append((row, reason)),
        end=ended.set,
    )
    with guard.on(None, num_inputs=4):
        assert not ended.wait(0.8)
        assert ended.wait(5)
    assert recorded == []
