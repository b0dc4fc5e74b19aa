"""Following a job's log until its end, over connections that may break."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from cluster.events import Event, parse_event, replay
from cluster.exits import EXIT_FAILED
from cluster.remote.connect import Cluster, lost_is_failed
from cluster.remote.identity import ACTIVE
from jobs.outcome import JobFailed

if TYPE_CHECKING:
    from cluster.console import Display

MAX_LOST_IN_A_ROW = 10
RETRY_S = 1.0
END_TIMEOUT_S = 60.0
POLL_S = 0.2
MAX_EXIT_CODE = 125
_RAYS_OWN = re.compile(r"Running entrypoint for job |.*\bjob_manager\.py:\d+ -- |.*\bworker\.py:\d+ -- ")


@dataclass(frozen=True)
class Ended:
    """How a job ended: Ray's status, the driver's own exit code where there is one, and Ray's message."""

    status: str
    exit_code: int | None
    message: str

    @property
    def code(self) -> int:
        """What a command that waited for the job exits with."""
        if self.status == "SUCCEEDED":
            return 0
        ours = self.exit_code is not None and 0 < self.exit_code <= MAX_EXIT_CODE
        return self.exit_code if ours and self.exit_code is not None else EXIT_FAILED


class Lines:
    """Cuts a stream of text into whole lines, leaving out what was seen before a connection broke."""

    def __init__(self) -> None:
        self._seen = 0
        self._skip = 0
        self._rest = ""

    def restart(self) -> None:
        """The stream begins anew."""
        self._skip = self._seen

    def take(self, text: str) -> Iterator[str]:
        """The lines that are whole now."""
        new, self._skip = text[self._skip :], max(0, self._skip - len(text))
        self._seen += len(new)
        *lines, self._rest = (self._rest + new).split("\n")
        yield from lines

    def last(self) -> str:
        """What came after the last end of a line."""
        return self._rest


def follow(cluster: Cluster, submission_id: str, display: Display) -> Ended:
    """Show a job's events as a run's here, until it ends.

    Raises:
        JobFailed: if the cluster is lost.
        KeyboardInterrupt: the job goes on.
    """
    lines, explained = Lines(), False

    def show(line: str) -> None:
        nonlocal explained
        event = parse_event(line)
        explained |= event is not None and event["event"] == "error"
        show_line(line, event, display)

    async def tail() -> None:
        lost = 0
        while True:
            lines.restart()
            try:
                async for text in cluster.client.tail_job_logs(submission_id):
                    for line in lines.take(text):
                        lost = 0
                        show(line)
            except (aiohttp.ClientError, RuntimeError, OSError) as error:
                lost += 1
                if lost == MAX_LOST_IN_A_ROW:
                    raise JobFailed(
                        f"the cluster at {cluster.url} does not answer any more ({error}); the job may go on"
                    ) from error
            else:
                if _status(cluster, submission_id) not in ACTIVE:
                    return
            await asyncio.sleep(RETRY_S)

    asyncio.run(tail())
    if lines.last():
        show(lines.last())
    ended = wait_for_end(cluster, submission_id, timeout_s=END_TIMEOUT_S)
    if ended.code and not explained:
        display.error(_unexplained(submission_id, ended))
    return ended


def wait_for_end(cluster: Cluster, submission_id: str, *, timeout_s: float) -> Ended:
    """The job's end; raises `JobFailed` if it does not come in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        with lost_is_failed(cluster.url):
            details = cluster.client.get_job_info(submission_id)
        if details.status.value not in ACTIVE:
            return Ended(details.status.value, details.driver_exit_code, details.message or "")
        if time.monotonic() > deadline:
            raise JobFailed(f"{submission_id} has not ended after {timeout_s:.0f} s: see veedor status")
        time.sleep(POLL_S)


def show_line(line: str, event: Event | None, display: Display) -> None:
    """Tell a display of one line of a log."""
    if event is not None:
        replay(event, display)
    elif line.strip() and not _RAYS_OWN.match(line):
        display.step(line)


def show_log(text: str, display: Display) -> None:
    """Tell a display of a whole log; of its progress, the last state alone."""
    lines = [(line, parse_event(line)) for line in text.splitlines()]
    progress = [index for index, (_, event) in enumerate(lines) if event and event["event"] == "progress"]
    for index, (line, event) in enumerate(lines):
        if index in progress[-1:] or not event or event["event"] != "progress":
            show_line(line, event, display)


def _status(cluster: Cluster, submission_id: str) -> Any:
    with lost_is_failed(cluster.url):
        return cluster.client.get_job_status(submission_id).value


def _unexplained(submission_id: str, ended: Ended) -> str:
    if ended.status == "STOPPED":
        return f"{submission_id} was stopped: submit it again to continue"
    first = ended.message.strip().splitlines()[:1]
    return f"{submission_id} failed ({' '.join(first) or 'no reason was given'}): submit it again to continue"
