"""Submitting to a cluster whose job server answers before its nodes can start jobs."""

from __future__ import annotations

import pytest

from cluster.remote.submit import AGENT_WAIT_S, when_agents_are_up
from jobs.outcome import JobFailed

NO_AGENT = "the cluster failed: No available agent to submit job, please try again later"


class Server:
    """Fails so many times, with a clock that only sleeping moves."""

    def __init__(self, failures: int, message: str = NO_AGENT) -> None:
        self.failures, self.message = failures, message
        self.now, self.asked = 0.0, 0

    def start(self) -> None:
        self.asked += 1
        if self.asked <= self.failures:
            raise JobFailed(self.message)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def submit(self) -> None:
        when_agents_are_up(self.start, clock=lambda: self.now, sleep=self.sleep)


@pytest.mark.parametrize("failures", [0, 1, 20])
def test_it_is_asked_until_an_agent_is_there(failures: int) -> None:
    server = Server(failures)
    server.submit()
    assert server.asked == failures + 1


def test_it_is_not_asked_for_ever() -> None:
    server = Server(10**6)
    with pytest.raises(JobFailed, match="No available agent"):
        server.submit()
    assert server.now == AGENT_WAIT_S


def test_other_failures_are_not_waited_for() -> None:
    server = Server(10**6, "the cluster failed: disk full")
    with pytest.raises(JobFailed, match="disk full"):
        server.submit()
    assert server.asked == 1
