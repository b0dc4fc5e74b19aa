"""A process of a running job is killed at a random moment: the run ends, and a rerun completes it."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.conftest import RUN_TIMEOUT_S, ToyJob, local_job
from tests.faults.drivers import Driver, Ending, wait_until
from tests.faults.numbered import command_line
from tests.faults.record import full, record
from tests.faults.results import Result, differences, published, read_result, rewritten

SEED = 7
NUM_TRIALS = 50
NUM_IMAGES = 120
NUM_UNITS = 40
ORPHANS_END_WITHIN_S = 60
# Who is killed, and what the command line of that process holds.
VICTIMS = {
    "driver": (),
    "raylet": ("/raylet/raylet ",),
    "head": ("/gcs/gcs_server ",),
    "actor": ("ray::MapWorker",),
    "task": ("ray::Read", "ray::IDLE"),
}
OWN_CLUSTER = ("raylet", "head")


@dataclass(frozen=True)
class Trial:
    """One kill: of whom, in which shape of the pipeline, after how many parts and how much later.

    `separate` is the shape of machines with GPUs: decoding, inference and writing in processes of their own.
    """

    victim: str
    separate: bool
    parts: int
    pause_s: float


def trials() -> list[Trial]:
    """50 of them by seed, the victims in turn; or one each of a raylet, an actor and a task."""
    dice = random.Random(SEED)
    victims = list(VICTIMS) * (NUM_TRIALS // len(VICTIMS)) if full() else ["raylet", "actor", "task"]
    return [
        Trial(
            name, name == "task" or dice.random() < 0.5, dice.randrange(NUM_UNITS // 2), dice.uniform(0, 0.5)
        )
        for name in victims
    ]


def test_a_kill_of_any_process_leaves_what_a_rerun_completes(address: str, tmp_path: Path) -> None:
    job = local_job(tmp_path, NUM_IMAGES, images_per_unit=NUM_IMAGES // NUM_UNITS)
    expected, _ = job.undisturbed(address)
    wrong, codes, missed, slowest_s = [], [], 0, 0.0
    for trial in trials():
        out = job.new_out()
        where = None if trial.victim in OWN_CLUSTER else address
        driver = job.start(out, address=where, separate_stages=trial.separate)
        hit = _kill(trial, driver, out)
        struck = time.monotonic()
        ending = driver.wait(RUN_TIMEOUT_S)
        slowest_s = max(slowest_s, time.monotonic() - struck)
        missed += not hit
        codes.append(ending.code)
        wrong += [(trial, what) for what in _compare(job, expected, out, ending, address)]
        wait_until(
            lambda driver=driver: not driver.book.workers(),
            within_s=ORPHANS_END_WITHIN_S,
            what=f"the last worker of a run to end ({trial})",
        )
    record(
        "a random process",
        attack=f"SIGKILL of {', '.join(VICTIMS)} at a random moment",
        trials=len(codes) - missed,
        differences=len(wrong),
        failures=sum(code != 0 for code in codes),
        rerun="complete, nothing written again" if not wrong else "differs",
        seed=SEED,
        slowest_end_after_the_kill_s=round(slowest_s),
        survived_without_rerun=codes.count(0),
    )
    assert not wrong
    assert missed <= len(codes) // 5, "runs ended before their victim was killed"


def _kill(trial: Trial, driver: Driver, out: str) -> bool:
    """Kill the trial's victim when its moment has come; False if the run was over before."""
    data = Path(out, "data")
    wait_until(
        lambda: not driver.is_alive() or len(list(data.glob("part-*"))) >= trial.parts,
        within_s=RUN_TIMEOUT_S,
        what=f"{trial.parts} parts",
    )
    time.sleep(trial.pause_s)
    found: list[int] = []

    def find() -> bool:
        found[:] = [driver.pid] if trial.victim == "driver" else _matching(driver, VICTIMS[trial.victim])
        return bool(found) or not driver.is_alive()

    wait_until(find, within_s=RUN_TIMEOUT_S, what=f"a {trial.victim} to kill")
    if not found or not driver.is_alive():
        return False
    os.kill(random.Random(SEED).choice(found), signal.SIGKILL)
    return True


def _matching(driver: Driver, words: tuple[str, ...]) -> list[int]:
    return [pid for pid in driver.book.workers() if any(word in command_line(pid) for word in words)]


def _compare(job: ToyJob, expected: Result, out: str, ending: Ending, address: str) -> list[str]:
    """What is wrong with the end of the attacked run, or with what a rerun makes of it."""
    before = published(out)
    if ending.code == 0:
        return differences(expected, read_result(out))
    said = []
    message = str(ending.last_event.get("message", ""))
    if "un the same command again" not in message or "Traceback" in ending.output:
        said.append(f"the failure is not clear: {ending.output[-2000:]}")
    again = job.run(out, address=address)
    if again.code != 0:
        return [*said, f"the rerun ended with {again.code}: {again.output[-2000:]}"]
    return said + differences(expected, read_result(out)) + rewritten(before, published(out))
