"""`veedor schedule serve`: the loop with its signals, processes and messages."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from threading import Event
from types import FrameType

from cluster.console import open_display
from cluster.schedules.decide import Step
from cluster.schedules.office import Office
from cluster.schedules.serve import Server


def serve_store(
    office: Office, options: Mapping[str, object], *, every_s: float, at_once: int, as_json: bool
) -> None:
    """Serve until SIGTERM or SIGINT; `options` go to the processes that tick."""
    words = [word for key, value in options.items() for word in _words(key, value)]
    stop = Event()

    def ask_to_stop(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    display = open_display(as_json=as_json)

    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cluster.cli", "tick", "--store", office.root, "--only", name]
        return subprocess.Popen([*command, *words], stdin=subprocess.DEVNULL)

    def look() -> dict[str, Step]:
        return {each.change.schedule.name: each.step for each in office.look()[0]}

    display.step(f"Serving the schedules of {office.root}; SIGTERM or Ctrl-C ends it")
    Server(look, start, stop.wait, listener=display, every_s=every_s, at_once=at_once).serve()
    display.step("Ended")


def _words(option: str, value: object) -> list[str]:
    """An option as it is typed: nothing where it is not given."""
    if value is None or value is False:
        return []
    return [option] if value is True else [option, str(value)]
