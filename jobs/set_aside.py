"""Inputs that end or block the process which works on them: set aside in the run's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

from jobs.storage import Store, join

StageName = Literal["decode", "infer"]
Reason = Literal["crashed", "too_slow", "too_much_memory"]

MESSAGES: dict[Reason, str] = {
    "crashed": "the process that worked on this input died each time; it was set aside",
    "too_slow": "this input took longer than limits.max_seconds_per_input; it was set aside",
    "too_much_memory": "this input took more than limits.max_memory_per_input; it was set aside",
}


@dataclass(frozen=True, slots=True)
class SetAside:
    """An input that is worked on no more: its row in the plan, the stage that it ended, and why."""

    row: int
    uri: str
    stage: StageName
    reason: Reason = "crashed"

    @property
    def message(self) -> str:
        return MESSAGES[self.reason]


def read_set_aside(folder: str, store: Store) -> dict[int, SetAside]:
    """What `folder` (`RunFolder.quarantine`) holds, by row of the plan."""
    bodies = [store.read(join(folder, name)) for name in store.list_names(folder) if name[0] != "."]
    found = [SetAside(**json.loads(body)) for body in bodies]
    return {item.row: item for item in found}


def set_aside(folder: str, store: Store, item: SetAside, *, writer: str) -> None:
    """Record an input, create-only: the first reason stands."""
    body = json.dumps(asdict(item)).encode()
    store.create(join(folder, f"{item.row}.json"), body, writer=writer)
