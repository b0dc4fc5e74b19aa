"""What is said of a driver that cannot say it itself: one that was killed, or that Ray's core ended."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator

LOST = (
    "the driver was ended from outside (kill -9, or the machine ran out of memory), or by Ray because its "
    "node or the head of its cluster was lost. What is published is safe: run the same command again to "
    "continue."
)
# A shell costs a millisecond and needs no import; it speaks when its input ends without a word.
SCRIPT = 'read -r word || printf "%s\\n" "$0"'


@contextlib.contextmanager
def last_words(*, as_json: bool) -> Iterator[None]:
    """Have a process of its own print `LOST` if this one ends inside the block without leaving it."""
    text = json.dumps({"event": "error", "message": LOST}) if as_json else f"error: {LOST}"
    with subprocess.Popen(
        ["/bin/sh", "-c", SCRIPT, text],
        stdin=subprocess.PIPE,
        stdout=None if as_json else sys.__stderr__,
        start_new_session=True,  # Ctrl-C is for the driver, which announces that end itself
    ) as shell:
        try:
            yield
        finally:
            shell.communicate(b"ended\n")
