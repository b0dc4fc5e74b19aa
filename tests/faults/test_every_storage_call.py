"""The driver is killed just before and just after each storage call that a job makes, in any process."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.conftest import point_at
from tests.faults.conftest import RUN_TIMEOUT_S, ToyJob, local_job, s3_job
from tests.faults.numbered import Harm
from tests.faults.record import full, record
from tests.faults.results import Result, differences, published, read_result, rewritten

SEED = 20
NUM_IMAGES = 10
SAMPLES = {"s3": 4, "local": 2}
AT_ONCE = 2


@dataclass(frozen=True)
class Trial:
    """What a kill did to the run, and what the rerun left unlike the undisturbed result."""

    harm: Harm
    killed: bool
    wrong: list[str]


@pytest.mark.parametrize("units_per_file", [1, 2])
@pytest.mark.parametrize("kind", ["s3", "local"])
def test_a_kill_at_any_storage_call_leaves_what_a_rerun_completes(
    kind: Literal["s3", "local"],
    units_per_file: int,
    address: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sink = {"images_per_unit": 2, "units_per_file": units_per_file}
    if kind == "s3":
        server = request.getfixturevalue("best_s3")
        point_at(server, monkeypatch)
        job = s3_job(server, tmp_path, NUM_IMAGES, **sink)
    else:
        job = local_job(tmp_path, NUM_IMAGES, **sink)
    expected, book = job.undisturbed(address)
    assert len({call.pid for call in book.calls}) >= 1 + units_per_file, "workers' calls are numbered too"
    harms = [Harm(n, moment) for n in range(1, len(book.calls) + 1) for moment in ("before", "after")]
    if not full():
        sample = random.Random(SEED + units_per_file).sample(harms, SAMPLES[kind] - 1)
        harms = [*sample, Harm(book.number_of("create", "_SUCCESS.json"), "after")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = list(pool.map(lambda harm: _try(job, harm, expected, address), harms))
    wrong = [(trial.harm, trial.wrong) for trial in trials if trial.wrong]
    record(
        f"storage calls, {kind}, {units_per_file} units a file",
        attack="driver killed just before and just after each call",
        trials=len(trials),
        differences=len(wrong),
        failures=sum(trial.killed for trial in trials),
        rerun="complete, nothing written again" if not wrong else "differs",
        seed="all calls" if full() else SEED + units_per_file,
        calls_of_a_job=len(book.calls),
    )
    assert not wrong
    missed = [trial.harm for trial in trials if not trial.killed]
    assert not missed, "the runs made fewer calls than the undisturbed one"


def _try(job: ToyJob, harm: Harm, expected: Result, address: str) -> Trial:
    out = job.new_out()
    first = job.run(out, address=address, harm=harm)
    before = published(out, job.server)
    again = job.start(out, address=address).wait(RUN_TIMEOUT_S)
    if again.code != 0:
        return Trial(harm, first.code < 0, [f"the rerun ended with {again.code}: {again.output[-2000:]}"])
    wrong = differences(expected, read_result(out)) + rewritten(before, published(out, job.server))
    return Trial(harm, first.code < 0, wrong)
