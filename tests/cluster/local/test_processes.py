"""Processes are told apart, found with all that they started, and ended without harm to others."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from cluster.local.processes import Process, end, tree, wait_until_gone

# A leader with a child, and a grandchild in a session of its own.
FAMILY = "sleep 100 & setsid sh -c 'sleep 100; true' & wait"


@pytest.fixture
def family() -> Iterator[Process]:
    started = subprocess.Popen(["sh", "-c", FAMILY], start_new_session=True)
    leader = Process.of(started.pid)
    assert leader is not None
    deadline = time.monotonic() + 10
    while len(tree(leader)) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    yield leader
    for each in tree(leader):
        each.send(signal.SIGKILL)
    started.kill()
    started.wait()


def test_a_tree_has_children_in_sessions_of_their_own_and_no_one_else(family: Process) -> None:
    found = tree(family)
    assert len(found) == 4
    assert family in found
    assert os.getpid() not in {each.pid for each in found}


def test_what_lost_its_parent_still_belongs(family: Process) -> None:
    before = tree(family)
    between = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(family.pid)], capture_output=True, text=True
    ).stdout
    (pid,) = [line.split()[0] for line in between.splitlines() if "sleep 100; true" not in line]
    assert Process.of(int(pid)) in before


def test_ending_a_tree_ends_all_of_it(family: Process) -> None:
    whole = tree(family)
    bystander = subprocess.Popen(["sleep", "100"], start_new_session=True)
    try:
        end(whole, first=[family], grace_s=0.3)
        assert wait_until_gone(whole, timeout_s=5)
        assert bystander.poll() is None
        assert tree(family) == frozenset()
    finally:
        bystander.kill()
        bystander.wait()


def test_another_process_of_the_same_number_is_neither_alive_nor_signalled() -> None:
    child = subprocess.Popen(["sleep", "100"])
    try:
        ours = Process.of(child.pid)
        assert ours is not None
        earlier = replace(ours, started=ours.started - 1)
        assert not earlier.is_alive()
        earlier.send(signal.SIGKILL)
        assert tree(earlier) == frozenset()
        time.sleep(0.1)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_what_has_ended_is_gone_even_before_its_parent_looks() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 5
    while (found := Process.of(child.pid)) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found is None
    child.wait()
