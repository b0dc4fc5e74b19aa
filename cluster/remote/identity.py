"""What a job is called on a cluster, and whether a submission starts it or joins it. Pure decisions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from jobs.spec import JobSpec

Status = Literal["PENDING", "RUNNING", "STOPPED", "SUCCEEDED", "FAILED"]
ACTIVE = ("PENDING", "RUNNING")
REPEATABLE = ("scan",)
"""Jobs of which one spec stands for many runs: each takes what is new."""

_DIGEST_CHARS = 12
_SUBMISSION = re.compile(r"veedor-([a-z]+)-([0-9a-f]{12})-([0-9]+)")


@dataclass(frozen=True, slots=True)
class JobKey:
    """A job by its kind, and by what decides its rows and its code."""

    job: str
    digest: str

    def submission_id(self, attempt: int) -> str:
        """Ray refuses a second job of one name on a cluster, so that two submissions at once start one."""
        return f"veedor-{self.job}-{self.digest}-{attempt}"


def job_key(spec: JobSpec, *, job: str, code_version: str) -> JobKey:
    """The key of a spec; see `JobSpec.identity` for what does not count."""
    digest = hashlib.sha256(f"{spec.identity()} {code_version}".encode()).hexdigest()
    return JobKey(job, digest[:_DIGEST_CHARS])


def parse_submission_id(text: str) -> tuple[JobKey, int] | None:
    """The inverse of `JobKey.submission_id`; None for what others submitted."""
    found = _SUBMISSION.fullmatch(text)
    return None if found is None else (JobKey(found[1], found[2]), int(found[3]))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One submission of a job, from 1."""

    number: int
    status: Status


@dataclass(frozen=True, slots=True)
class Start:
    """Submit, as this attempt."""

    number: int


@dataclass(frozen=True, slots=True)
class Attach:
    """Do not submit: this attempt is what is wanted."""

    attempt: Attempt


def decide(job: str, attempts: Iterable[Attempt], *, again: bool = False) -> Start | Attach:
    """Whether to start a job or to join an attempt that there is.

    What runs is joined. What failed or was stopped is tried again, and continues from what it published. What
    succeeded stands, unless each run of its job takes something new, or it is asked for `again`.
    """
    last = max(attempts, key=lambda attempt: attempt.number, default=None)
    if last is None:
        return Start(1)
    if last.status in ACTIVE:
        return Attach(last)
    if last.status == "SUCCEEDED" and not again and job not in REPEATABLE:
        return Attach(last)
    return Start(last.number + 1)
