"""Numbering the storage calls of a whole job, over all its processes, and doing harm at one of them.

`arm` runs in the driver and in every worker. Calls are numbered from 1 in the order in which they begin, by a
file that all processes lock.
"""

from __future__ import annotations

import fcntl
import functools
import inspect
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jobs.stages import batching
from jobs.storage import Store
from jobs.storage.local import LocalStore

ENVIRONMENT = "VEEDOR_NUMBERED"
TUNED_BATCH = 4


@dataclass(frozen=True)
class Harm:
    """What happens at call `number`: the driver is killed, or all processes of the job are stopped."""

    number: int
    moment: Literal["before", "after"]
    deed: Literal["kill", "stop"] = "kill"


@dataclass(frozen=True)
class Call:
    """One storage call: who made it, which, and of what location."""

    pid: int
    method: str
    uri: str


@dataclass(frozen=True)
class Book:
    """The folder of one numbered run: the harm to do, the driver's process id, and the calls made."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, harm: Harm | None = None) -> Book:
        folder.mkdir(parents=True)
        (folder / "harm.json").write_text(json.dumps(asdict(harm) if harm else None))
        (folder / "calls").touch()
        return cls(folder)

    @property
    def harm(self) -> Harm | None:
        content = json.loads((self.folder / "harm.json").read_text())
        return Harm(**content) if content else None

    @property
    def calls(self) -> list[Call]:
        return [Call(**json.loads(line)) for line in (self.folder / "calls").read_text().splitlines()]

    @property
    def driver(self) -> int:
        return int((self.folder / "driver").read_text())

    def number_of(self, method: str, name: str) -> int:
        """The number of the first call of a method on an object or folder of a name."""
        numbered = enumerate(self.calls, 1)
        return next(n for n, c in numbered if c.method == method and c.uri.endswith(f"/{name}"))

    def note(self, method: str, uri: str) -> int:
        """Write a call down; returns its number."""
        with (self.folder / "calls").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number = len(file.readlines()) + 1
            file.write(json.dumps(asdict(Call(os.getpid(), method, uri))) + "\n")
        return number

    def workers(self) -> list[int]:
        """What lives of the job beside its driver: its workers, and its cluster if that is its own."""
        mark = f"{ENVIRONMENT}={self.folder}".encode()
        return [pid for pid in _pids() if mark in _environment(pid)]


def arm() -> None:
    """Number the storage calls of this process; batch sizes are not measured but fixed, so rows compare."""
    book = Book(Path(os.environ[ENVIRONMENT]))
    stores: list[type] = [LocalStore]
    if "AWS_ENDPOINT_URL" in os.environ:
        from jobs.storage.s3 import S3Store

        stores.append(S3Store)
    for store in stores:
        for name in [name for name in vars(Store) if not name.startswith("_")]:
            setattr(store, name, _numbered(getattr(store, name), book))
    batching.measure_rates = lambda *_, **__: {TUNED_BATCH: 1.0}


def _numbered(method: Callable[..., Any], book: Book) -> Callable[..., Any]:
    harm = book.harm

    def strike(number: int, moment: str) -> None:
        if harm == Harm(number, moment, harm.deed if harm else "kill"):  # type: ignore[arg-type]
            _do(harm, book)

    @functools.wraps(method)
    def call(self: Store, uri: str, *arguments: Any, **options: Any) -> Any:
        number = book.note(method.__name__, uri)
        strike(number, "before")
        try:
            return method(self, uri, *arguments, **options)
        finally:
            strike(number, "after")

    @functools.wraps(method)
    def walk(self: Store, uri: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        yield from call(self, uri, *arguments, **options)

    return walk if inspect.isgeneratorfunction(method) else call


def _do(harm: Harm, book: Book) -> None:
    if harm.deed == "kill":
        os.kill(book.driver, signal.SIGKILL)
        return
    me = os.getpid()
    for pid in [*({book.driver, *book.workers()} - {me}), me]:
        os.kill(pid, signal.SIGSTOP)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def command_line(pid: int) -> str:
    """A process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
