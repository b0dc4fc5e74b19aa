"""`docs/reliability.md` from the figures that `make faults` recorded.

python -m tests.faults.table docs/reliability.json > docs/reliability.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("run", "attack", "trials", "differences", "failures", "rerun", "seed")
HEADER = """\
# Reliability

What was attacked, how often, and what came of it. `make faults` makes this page; `make test` runs the same
tests on a seeded sample. A *difference* is a row, a file or a count unlike the undisturbed result, or a
published object that changed. A *failure* is an attacked run that ended with an error; *rerun* says what
running the same command again did. *Run* is `full` for all parameters of `make faults`, which takes hours,
and `sample` for those of `make test`.
"""


def main(path: str) -> None:
    """Print the page."""
    content = json.loads(Path(path).read_text())
    rows = [_row(name, figures) for name, figures in sorted(content["rows"].items())]
    print(HEADER)
    print(f"Hardware: {content['hardware']}.\n")
    print("| what | " + " | ".join(COLUMNS) + " | also measured |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    print("\n".join(rows))


def _row(name: str, figures: dict[str, Any]) -> str:
    known = [_text(figures.get(column, "")) for column in COLUMNS]
    others = "; ".join(
        f"{key.replace('_', ' ')} {_text(v)}" for key, v in figures.items() if key not in COLUMNS
    )
    return "| " + " | ".join(text.replace("|", "\\|") for text in (name, *known, others)) + " |"


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main(sys.argv[1])
