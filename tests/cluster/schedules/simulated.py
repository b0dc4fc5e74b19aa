"""A store in memory with a clock of its own, and processes that take turns at its calls.

Each process is a greenlet. Before each of its store calls it waits until the world lets it go on, so that
every order of calls can be played; and at any call it can be killed (it never goes on) or frozen (it goes on
when the world says so), as by SIGKILL and SIGSTOP: no `finally` of it runs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from greenlet import getcurrent, greenlet

from cluster.schedules.clock import StoreClock
from cluster.schedules.records import Record, Report
from cluster.schedules.runner import Work
from cluster.schedules.schedule import Change, Schedule
from cluster.schedules.tick import Tally, Ticker
from jobs.ledger import Ledger, ledger_key
from jobs.pinned import PinnedInputs, pin_inputs
from jobs.progress import SilentListener
from jobs.storage import CreateOutcome, ObjectInfo, ObjectMissing

START = datetime(2026, 3, 1, tzinfo=UTC)
ROOT, SCANS = "/store", "/scans"
MAX_CALLS = 20_000
Moment = Literal["before", "after"]
Deed = Literal["kill", "freeze"]
Strike = Callable[[int, str, Moment], Deed | None]
"""What happens to a process at its n-th call, of such a kind: nothing, mostly."""
CREATED_ONCE = re.compile(r"/changes/|\.(?:claim|ended)-|\.done\.|/plans/|/ledger/")


def strike_at(number: int, moment: Moment, deed: Deed = "kill") -> Strike:
    return lambda n, _, m: deed if (n, m) == (number, moment) else None


class World:
    """Objects with the time of their writing, the store's clock, and the schedule that is ticked."""

    schedule: Schedule

    def __init__(self, seed: int) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.now = START
        self.dice = random.Random(seed)
        self.hub = getcurrent()
        self.struck: set[tuple[str, Moment]] = set()
        self.called: set[str] = set()
        self.processes: list[Process] = []
        self.arrived: list[ObjectInfo] = []

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def arrive(self, count: int) -> None:
        """New objects for scans to find."""
        first = len(self.arrived)
        self.arrived += [ObjectInfo(f"/in/{n:05d}", "1", 1) for n in range(first, first + count)]

    def start(
        self, run: Callable[[Process], Tally], strike: Strike | None = None, *, skew_s: float = 0.0
    ) -> Process:
        process = Process(self, run, strike, timedelta(seconds=skew_s))
        self.processes.append(process)
        return process


class Process:
    """A process that ticks, up to its next store call each time that it is let go on."""

    def __init__(
        self, world: World, run: Callable[[Process], Tally], strike: Strike | None, skew: timedelta
    ) -> None:
        self.world = world
        self.strike = strike
        self.skew = skew
        self.calls = 0
        self.dead = False
        self.frozen = False
        self.tally: Tally | None = None
        self.give: Callable[[], None] = lambda: None
        self._greenlet = greenlet(lambda: self._run(run))

    def _run(self, run: Callable[[Process], Tally]) -> None:
        self.tally = run(self)

    @property
    def over(self) -> bool:
        return self.dead or self._greenlet.dead

    def go_on(self) -> None:
        """Until its next store call, or its end."""
        assert not self.over
        self._greenlet.switch()

    def finish(self) -> Process:
        """Until its end, or to where it is struck."""
        while not self.over and not self.frozen:
            self.go_on()
        return self

    def own_time(self) -> datetime:
        """Its machine's clock, which is wrong by `skew`."""
        return self.world.now + self.skew

    def call(self, name: str, effect: Callable[[], Any]) -> Any:
        """A store call in its turn."""
        if self.dead:
            raise SystemExit  # what a collected greenlet still tries
        self.calls += 1
        assert self.calls < MAX_CALLS, "a tick does not come to its end"
        number = self.calls
        self.world.called.add(name)
        self.world.hub.switch()
        self._strike(number, "before", name)
        found = effect()
        self._strike(number, "after", name)
        return found

    def _strike(self, number: int, moment: Moment, name: str) -> None:
        deed = self.strike(number, name, moment) if self.strike else None
        if deed is None:
            return
        self.world.struck.add((name, moment))
        if deed == "kill":
            self.dead = True
        else:
            self.frozen = True
        self.world.hub.switch()
        self.frozen = False


class SimStore:
    """The store as one process sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    def list_names(self, uri: str) -> list[str]:
        folder = uri.rstrip("/") + "/"

        def listed() -> list[str]:
            inner = (u.removeprefix(folder) for u in self._world.objects if u.startswith(folder))
            return sorted(name for name in inner if "/" not in name)

        return self._call("list", uri, listed)

    def exists(self, uri: str) -> bool:
        return self._call("exists", uri, lambda: uri in self._world.objects)

    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        del etag
        return self._call("read", uri, lambda: self._get(uri)[0])

    def modified_at(self, uri: str) -> datetime:
        return self._call("modified", uri, lambda: self._get(uri)[1].replace(microsecond=0))

    def create(self, uri: str, body: bytes, *, writer: str) -> CreateOutcome:
        del writer

        def created() -> CreateOutcome:
            if uri in self._world.objects:
                return "same" if self._world.objects[uri][0] == body else "exists"
            self._world.objects[uri] = (body, self._world.now)
            return "created"

        return self._call("create", uri, created)

    def put(self, uri: str, body: bytes) -> None:
        assert not CREATED_ONCE.search(uri), f"{uri} must not be overwritten"
        self._call("put", uri, lambda: self._world.objects.__setitem__(uri, (body, self._world.now)))

    def delete(self, uri: str) -> None:
        assert "probe-" in uri, f"{uri} must not be deleted"
        self._call("delete", uri, lambda: self._world.objects.pop(uri, None))

    def _get(self, uri: str) -> tuple[bytes, datetime]:
        if uri not in self._world.objects:
            raise ObjectMissing(f"there is no object {uri}")
        return self._world.objects[uri]

    def _call(self, method: str, uri: str, effect: Callable[[], Any]) -> Any:
        kind = re.sub(r"\d+|probe-\w+", "N", uri.removeprefix(ROOT))
        return self._process.call(f"{method} {kind}", effect)


@contextmanager
def no_thread(give: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """In place of `signs_of_life`: the runner gives them, at store calls of its own process."""
    del every_s
    process_of_call().give = give
    yield


def process_of_call() -> Process:
    """The process that runs now."""
    current: Any = getcurrent()
    found: Process = current.run_by
    return found


def ticking(runner: Callable[[Process], Any], only: str | None = None) -> Callable[[Process], Tally]:
    """What a process does that ticks once."""

    def run(process: Process) -> Tally:
        current: Any = getcurrent()
        current.run_by = process
        store: Any = SimStore(process)
        clock = StoreClock(ROOT, store, own=process.own_time)
        ticker = Ticker(ROOT, store, runner(process), listener=SilentListener(), clock=clock)
        return ticker.tick(only)

    return run


class SimScan:
    """A scan of what has arrived, as `jobs.scan` makes it: a stored plan under its number, and the ledger.

    Args:
        process: that runs it.
        takes_s: how long it may take; beyond a lease its process may be taken for dead.
    """

    def __init__(self, process: Process, takes_s: Callable[[], float] = lambda: 0.0) -> None:
        self._process = process
        self._store: Any = SimStore(process)
        self._takes_s = takes_s

    def run(self, work: Work) -> Report:
        world, store = self._process.world, self._store
        while True:
            ledger = Ledger(SCANS, store)
            number = ledger.last + 1
            plan = f"{SCANS}/plans/{number:06d}"
            begun = store.exists(plan)
            if not begun:
                new = list(ledger.unseen(world.arrived))
                if not new:
                    return Report(exit_code=0, uri=SCANS, counts={"inputs": 0})
                store.create(plan, pin_inputs(new).parquet.to_pybytes(), writer=str(work.attempt))
            inputs = PinnedInputs.from_parquet(store.read(plan))
            self._process.give()
            world.pass_by(self._takes_s())
            ledger.advance(number, inputs, writer="w")
            if not begun:
                return Report(exit_code=0, uri=SCANS, counts={"inputs": inputs.num_images})


def scanned(world: World) -> list[bytes]:
    """The keys of all that scans took, as often as they took it."""
    found: list[bytes] = []
    for uri, (body, _) in world.objects.items():
        if uri.startswith(f"{SCANS}/_veedor/ledger/scan-"):
            found += pq.read_table(pa.BufferReader(body)).column("key").to_pylist()
    return found


def keys_of(infos: list[ObjectInfo]) -> list[bytes]:
    return [ledger_key(info.uri, info.etag) for info in infos]


def put_schedule(world: World, cron: str, *, each: bool = False, **more: Any) -> None:
    """A schedule named `line` from the world's start on; `each` gives each of its ticks a run of its own."""
    spec = {"job": "scan", "source": {"uri": "/in/{tick}" if each else "/in"}, "sink": {"uri": "/out"}}
    content = {
        "name": "line",
        "cron": cron,
        "timezone": "UTC",
        "spec": spec,
        "definition": 1,
        "since": world.now,
    }
    world.schedule = Schedule.model_validate(content | more)
    change = Change(number=1, kind="add", by="test", at=world.now, schedule=world.schedule)
    uri = f"{ROOT}/schedules/changes/line.000001.json"
    world.objects[uri] = (change.model_dump_json().encode(), world.now)


def records(world: World) -> list[Record]:
    """The record of each run, in order."""
    found = sorted((uri, body) for uri, (body, _) in world.objects.items() if uri.endswith(".done.json"))
    return [Record.model_validate_json(body) for _, body in found]


def wrong_with(world: World, until: datetime) -> list[str]:
    """What does not hold: each instant in one run, each run with one record, runs one after the other."""
    made, schedule = records(world), world.schedule
    wrong = []
    if [record.number for record in made] != list(range(1, len(made) + 1)):
        wrong.append(f"runs {[record.number for record in made]}")
    covered: list[datetime] = []
    for record in made:
        inside = schedule.due(record.due.first - timedelta(seconds=1), record.due.last)
        if len(inside) != record.due.count:
            wrong.append(f"run {record.number} has {record.due.count} ticks, not {len(inside)}")
        covered += inside
    expected = schedule.due(schedule.since, until)
    if [instant for instant in covered if instant <= until] != expected:
        wrong.append(f"ticks {covered}, not {expected}")
    told = [
        record.number for process in world.processes if process.tally for _, record in process.tally.records
    ]
    if len(set(told)) != len(told):
        wrong.append(f"two processes took a record for theirs: {told}")
    claims = [uri for uri in world.objects if ".claim-1." in uri]
    if len(claims) != len(made):
        wrong.append(f"{len(claims)} runs were claimed, {len(made)} have records")
    return wrong
