"""One tick: look at every schedule, claim what is due, run it, and record what came of it.

Nothing is kept between ticks, and any number may tick at once. Every write is one of four: a claim, a sign of
life of its holder, how an attempt ended, and the record of a run. Claims and records are created and never
changed, so each run has one holder at a time and one record, whoever is killed, wherever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from cluster.exits import EXIT_INTERRUPTED, EXIT_OVER_LIMIT
from cluster.schedules.book import Book, UnreadableSchedule
from cluster.schedules.clock import StoreClock
from cluster.schedules.decide import Attempt, Close, Held, Idle, Timing, decide
from cluster.schedules.hold import signs_of_life
from cluster.schedules.placeholders import filled
from cluster.schedules.records import Claim, Ended, Holder, Outcome, Record, Report
from cluster.schedules.runner import Runner, Work
from cluster.schedules.runs import Runs, RunState, UnreadableRun
from cluster.schedules.schedule import Schedule
from cvcore.errors import SpecError
from jobs.progress import Listener
from jobs.run_folder import new_writer
from jobs.storage import Store, join, probe_create_only

DONE: dict[int, Outcome] = {0: "finished", EXIT_OVER_LIMIT: "over limit"}


@dataclass
class Tally:
    """What a tick came to.

    Attributes:
        records: of the runs that it brought to their end, by the name of their schedule.
        retried: names of schedules whose run failed and will be tried again.
        problems: by name, why a schedule could not be looked at.
        upcoming: by name, when schedules with nothing to do are due next.
        interrupted: whether it was asked to stop in the middle of a run.
    """

    records: list[tuple[str, Record]] = field(default_factory=list)
    retried: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    upcoming: dict[str, datetime] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def failed(self) -> bool:
        """Whether there is something that a person should look at."""
        bad = {"failed", "given up", "over limit"}
        return bool(self.retried or self.problems) or any(r.outcome in bad for _, r in self.records)


class Ticker:
    """Ticks the schedules of a store.

    Args:
        root: the store's location.
        store: it.
        runner: runs the jobs.
        listener: told of what is done.
        timing: how long is waited for whom.
        clock: the store's.
    """

    def __init__(
        self,
        root: str,
        store: Store,
        runner: Runner,
        *,
        listener: Listener,
        timing: Timing | None = None,
        clock: StoreClock | None = None,
    ) -> None:
        self._root = root
        self._store = store
        self._runner = runner
        self._listener = listener
        self._timing = timing or Timing()
        self._clock = clock or StoreClock(root, store)
        self._book = Book(root, store)
        self._me = Holder.me()
        self._probed = False

    def tick(self, only: str | None = None) -> Tally:
        """Bring every schedule, or one, as far as it can be brought now.

        Raises:
            SpecError: if there is no such schedule, or the store overwrites what it should only create.
        """
        tally = Tally()
        names = self._book.names() if only is None else {only: self._book.find(only).number}
        if not names:
            self._listener.step(f"There is no schedule in {self._root}")
            return tally
        now = self._clock.now()
        if self._clock.warning:
            self._listener.step(f"Warning: {self._clock.warning}", skewed=True)
        for name, number in names.items():
            try:
                now = self._advance(self._book.read(name, number).schedule, now, tally)
            except (UnreadableSchedule, UnreadableRun) as error:
                tally.problems[name] = str(error)
            if tally.interrupted:
                break
        return tally

    def _advance(self, schedule: Schedule, now: datetime, tally: Tally) -> datetime:
        """Bring one schedule as far as it can be; returns the store's time as last read."""
        runs = self._runs(schedule.name)
        while True:
            last = runs.last()
            step = decide(schedule, last, now, self._timing)
            match step:
                case Idle():
                    if step.until is not None:
                        tally.upcoming[schedule.name] = step.until
                    return now
                case Held():
                    self._listener.step(f"{schedule.name}: {step.why}", schedule=schedule.name)
                    return now
                case Close():
                    assert last is not None
                    self._close(runs, schedule, last, step.outcome, now, tally)
                case Attempt():
                    self._check_store()
                    claim = self._claim_of(step, schedule, now)
                    if runs.claim(claim):
                        self._run(runs, schedule, claim, tally)
                        if tally.interrupted:
                            return now
                        now = self._clock.now()
                        schedule = self._book.find(schedule.name, removed=True).schedule

    def _run(self, runs: Runs, schedule: Schedule, claim: Claim, tally: Tally) -> None:
        """Make an attempt that is claimed, and note how it ended."""
        self._listener.step(_begun_text(schedule, claim), schedule=schedule.name, run=claim.number)
        work = Work(
            schedule.name,
            claim.number,
            claim.attempt,
            filled(schedule.spec, claim.due.last, schedule.zone),
            schedule.alert_env,
        )
        try:
            with signs_of_life(lambda: runs.renew(claim), every_s=self._timing.renew_s):
                report = self._runner.run(work)
        except KeyboardInterrupt:
            report = Report(exit_code=EXIT_INTERRUPTED, error="interrupted")
        now = self._clock.now()
        if report.exit_code == EXIT_INTERRUPTED:
            tally.interrupted = True
            runs.end(claim, Ended(outcome="interrupted", at=now, report=report))
        elif report.exit_code in DONE:
            self._record(runs, schedule, claim, DONE[report.exit_code], now, report, tally)
        elif claim.failures + 1 < schedule.max_attempts:
            tally.retried.append(schedule.name)
            runs.end(claim, Ended(outcome="failed", at=now, report=report))
        elif runs.is_taken_over(claim):
            runs.end(claim, Ended(outcome="failed", at=now, report=report))
        else:
            self._record(runs, schedule, claim, "failed", now, report, tally)

    def _close(
        self,
        runs: Runs,
        schedule: Schedule,
        last: RunState,
        outcome: Outcome,
        now: datetime,
        tally: Tally,
    ) -> None:
        """Note what a run came to that nobody goes on with."""
        report = last.ended.report if last.ended else None
        self._record(runs, schedule, last.claim, outcome, now, report, tally)

    def _record(
        self,
        runs: Runs,
        schedule: Schedule,
        claim: Claim,
        outcome: Outcome,
        now: datetime,
        report: Report | None,
        tally: Tally,
    ) -> None:
        record = Record(
            number=claim.number,
            attempt=claim.attempt,
            due=claim.due,
            definition=claim.definition,
            outcome=outcome,
            holder=claim.holder,
            claimed_at=claim.at,
            at=now,
            report=report,
        )
        name = schedule.name
        if runs.close(record):
            tally.records.append((name, record))
            error = f": {report.error}" if report and report.error else ""
            self._listener.step(
                f"{name}: run {claim.number} {outcome}{error}", schedule=name, run=claim.number
            )
        else:
            self._listener.step(
                f"{name}: run {claim.number} was recorded by another process, which had taken it over",
                schedule=name,
                run=claim.number,
            )

    def _claim_of(self, step: Attempt, schedule: Schedule, now: datetime) -> Claim:
        return Claim(
            number=step.number,
            attempt=step.attempt,
            failures=step.failures,
            due=step.due,
            definition=schedule.definition,
            progress=step.progress,
            holder=self._me,
            at=now,
        )

    def _runs(self, name: str) -> Runs:
        return Runs(self._root, name, self._store)

    def _check_store(self) -> None:
        """Before the first claim: claims mean nothing where what stands can be overwritten."""
        if not self._probed:
            check_create_only(self._root, self._store)
            self._probed = True


def check_create_only(root: str, store: Store) -> None:
    """Raises `SpecError` for a store that overwrites what it should only create."""
    if not probe_create_only(join(root, "schedules"), store, writer=new_writer()):
        raise SpecError(
            f"the store of {root} overwrites objects that it was asked only to create, so two ticks could "
            "run the same (versioned buckets of some servers do this). Use another bucket, or a folder, for "
            "--store"
        )


def _begun_text(schedule: Schedule, claim: Claim) -> str:
    due = claim.due
    when = f"due {due.last.astimezone(schedule.zone):%Y-%m-%d %H:%M %Z}"
    if due.count > 1:
        when += f" and for {due.count - 1:,} missed tick{'s' * (due.count > 2)} before"
    made_up = ", backfilled" if due.kind == "backfill" else ""
    again = f", attempt {claim.attempt}" if claim.attempt > 1 else ""
    return f"{schedule.name}: run {claim.number}, {when}{made_up}{again}"
