"""Make `docs/benchmarks.md` from the results in `docs/benchmarks/*.json`.

python benchmarks/table.py
"""

from __future__ import annotations

import json
from typing import Any

from common import RESULTS, ROOT

OUTPUT = ROOT / "docs" / "benchmarks.md"
UNMET = RESULTS / "unmet.md"  # written by hand: why a figure is what it is
HEAD = """\
# Benchmarks

Made by `make bench` from the files in `docs/benchmarks/`; each is written by the script of its name in
`benchmarks/`, and holds more figures than are shown here. Figures that are compared come from one run.
"""
MARKS = {True: "yes", False: "**no**", None: "-"}


def table(results: list[dict[str, Any]]) -> str:
    """The page: every claim with its target, what was measured, and on what."""
    machines = list(dict.fromkeys(result["hardware"] for result in results))
    lines = [HEAD, "| benchmark | claim | target | measured | met | on |", "|---|---|---|---|---|---|"]
    for result in results:
        machine = f"[{machines.index(result['hardware']) + 1}]"
        for claim in result["claims"]:
            cells = [
                f"`{result['name']}`",
                claim["claim"],
                claim["target"] or "-",
                claim["measured"],
                MARKS[claim["met"]],
                machine,
            ]
            lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    lines += ["", *(f"[{number}] {machine}  " for number, machine in enumerate(machines, 1))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read all results and write the page."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    OUTPUT.write_text(table(results) + "\n" + UNMET.read_text())


if __name__ == "__main__":
    main()
