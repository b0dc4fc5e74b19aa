"""How hard the fault tests try, and the figures that they leave for `docs/reliability.md`."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from pathlib import Path


def full() -> bool:
    """Whether the fault tests run with all their parameters (`make faults`) or a seeded sample of them."""
    return os.environ.get("VEEDOR_FAULTS") == "full"


def record(name: str, **figures: str | int | float) -> None:
    """Keep a test's figures under its name in the file that VEEDOR_FAULTS_JSON names, if it names one.

    A name that is there already is replaced. Safe for several processes at once.

    Args:
        name: what was attacked, as the table's first column says it.
        figures: `attack` (what was done to it), `trials`, `differences` (rows or files unlike the
            undisturbed result), `failures` (of the attacked runs), `rerun` (what running again did) and
            `seed` have columns of their own; anything else is listed beside them.
    """
    target = os.environ.get("VEEDOR_FAULTS_JSON")
    if not target:
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        content = json.loads(text) if text else {"rows": {}}
        content["hardware"] = f"{os.cpu_count()} CPUs ({platform.machine()}), {platform.system()}"
        content["rows"][name] = figures | {"run": "full" if full() else "sample"}
        file.truncate(0)
        file.write(json.dumps(content, indent=1, sort_keys=True) + "\n")
