"""What a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cvcore.errors import SpecError, VeedorError
from jobs.spec import LimitsSection

Outcome = Literal["finished", "already finished", "interrupted", "failed"]

FOUND = {
    "scan": "anomalies",
    "calibrate": "anomalies",
    "embed": "embeddings",
    "propose": "proposals",
    "denoise": "pictures",
    "compress": "codes",
}
"""What a job's rows are counted for, where that is not detections."""

CLASSIFIED, MAPS = "classified", "maps"
"""The same of an annotate job with a classifier, and with a segmenter."""
_WITHOUT_BOXES = {CLASSIFIED: "a classifier's run, with labels", MAPS: "a segmenter's run, with class maps"}


def refuse_without_boxes(counts: Mapping[str, Any], uri: str) -> None:
    """Raises `SpecError` for a run without detections, by its manifest's counts."""
    for kind, what in _WITHOUT_BOXES.items():
        if kind in counts:
            raise SpecError(f"{uri} is {what} and no boxes: name a detector's")


class JobFailed(VeedorError):
    """The job stopped before its end; running it again continues (exit code 1)."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to; `manifest` is the content of `_SUCCESS.json`."""

    uri: str
    outcome: Outcome
    manifest: dict[str, Any]
    wall_s: float = 0.0
    startup_s: float = 0.0
    images_per_s: float = 0.0
    over_limit: bool = False


def is_over_limit(limits: LimitsSection, manifest: dict[str, Any]) -> bool:
    """Whether more inputs failed than `limits.max_failed_fraction` allows."""
    counts = manifest["counts"]
    return bool(counts["failed"] > limits.max_failed_fraction * counts["inputs"])
