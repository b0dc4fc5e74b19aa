"""Drivers that start fast: `veedor run` in processes forked from one that has everything imported."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from tests.faults.numbered import ENVIRONMENT, Book, arm
from tests.runs import ROOT

IMPORTED_ONCE = [
    "cluster.console",
    "jobs.annotate",
    "jobs.scan",
    "jobs.execute",
    "jobs.storage.s3",
    "tests.faults.numbered",
]
LAST_WORDS_WITHIN_S = 10
SKIPPED_IDS = 2**18
RUNTIME_ENVIRONMENT = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@dataclass(frozen=True)
class Ending:
    """How a driver ended: its exit code (negative: the signal) and all that it printed."""

    code: int
    output: str

    @property
    def last_event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.output.strip().splitlines()[-1])
        return event


class Driver:
    """One `veedor run --json` of a spec, in a process of its own.

    Args:
        content: the spec.
        folder: a new folder for its output.
        address: the cluster to join; None starts an embedded one.
        environment: set for the driver and its workers.
        book: numbers the storage calls, and may do harm at one of them.
        separate_stages: decode, infer and publish in processes of their own, as on machines with GPUs.
    """

    def __init__(
        self,
        content: dict[str, Any],
        folder: Path,
        *,
        address: str | None,
        environment: dict[str, str] | None = None,
        book: Book,
        separate_stages: bool = False,
    ) -> None:
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(json.dumps(content))
        self._output = folder / "output"
        self.book = book
        context = get_context("forkserver")
        context.set_forkserver_preload(IMPORTED_ONCE)
        arguments = (folder, address, environment or {}, book, separate_stages)
        self._process: ForkServerProcess = context.Process(target=_drive, args=arguments, daemon=True)
        self._process.start()
        _started.append(self)
        assert self._process.pid
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def is_stopped(self) -> bool:
        """Whether it stands still where `Harm` stopped it."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def resume(self) -> None:
        """Let a stopped job go on: the driver last."""
        for pid in [*self.book.workers(), self.pid]:
            os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it and its workers, however they are."""
        for pid in [self.pid, *self.book.workers()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.join()

    def wait(self, timeout_s: float) -> Ending:
        """Its end; a driver that does not end in time fails the test."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"the driver hung for {timeout_s:g} s:\n{self._output.read_text()}")
        if self._process.exitcode != 0:  # last words come from a process of their own, a moment later
            deadline = time.monotonic() + LAST_WORDS_WITHIN_S
            while '"event": "error"' not in self._output.read_text() and time.monotonic() < deadline:
                time.sleep(0.02)
        return Ending(self._process.exitcode, self._output.read_text())


_started: list[Driver] = []


def kill_drivers() -> None:
    """End what a failed test left: a stopped driver would keep this process from ending."""
    for driver in _started:
        if driver.is_alive():
            driver.kill()
    _started.clear()


def _drive(
    folder: Path, address: str | None, environment: dict[str, str], book: Book, separate_stages: bool
) -> None:
    output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    os.chdir(ROOT)
    (book.folder / "driver").write_text(str(os.getpid()))
    environment = {**environment, "PYTHONPATH": str(ROOT), ENVIRONMENT: str(book.folder)}
    workers = {"env_vars": environment, "worker_process_setup_hook": "tests.faults.numbered.arm"}
    os.environ.update(environment)
    os.environ[RUNTIME_ENVIRONMENT] = json.dumps({"runtime_env": workers})
    arm()
    if separate_stages:
        _separate_stages()
    _draw_other_ids()
    from cluster.cli import app

    app(["run", str(folder / "spec.json"), "--json", *(["--address", address] if address else [])])


def _draw_other_ids() -> None:
    """Skip some of Ray's random ids, at random.

    Importing `ray.data` seeds their one generator, in the process that drivers are forked from. Two drivers
    on one cluster would draw the same ids, and break each other's objects.
    """
    from ray import WorkerID

    for _ in range(secrets.randbelow(SKIPPED_IDS)):
        WorkerID.from_random()


def _separate_stages() -> None:
    from dataclasses import replace

    import jobs.launch as launch

    chosen = launch.plan_resources
    launch.plan_resources = lambda *shape: replace(  # type: ignore[attr-defined]
        chosen(*shape), fused=False, actors=1, cpus_per_actor=0.5
    )


def wait_until(happened: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Poll until `happened()` is true; fails the test when it takes too long."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain for {what}"
        time.sleep(0.02)
