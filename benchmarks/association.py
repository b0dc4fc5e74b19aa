"""Association alone: frames a second, and how right the tracks are, against the PyPI package `trackers`.

    python benchmarks/association.py [--json]

Both get the same detections, frame by frame, as arrays of their own kind that are made before the clock runs.
Speed: the detections of the 11 MOT15 sequences. Quality: the two of them that have ground truth, and twenty
made-up sequences (tests/cvcore/track/synthetic.py). Each tracker runs with its own defaults and with equal
parameters; SORT's paper ends a track after one frame without a detection, `trackers` after 30.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Claim, argument_parser, report

from cvcore.metrics.tracking import TrackedPair, evaluate_tracking
from cvcore.track.catalog import make_tracker
from cvcore.track.mot_text import MotRows, read_mot
from cvcore.track.options import ByteTrackOptions, SortOptions
from tests.cvcore.track.synthetic import difficulties, make_film

PEERS = Path(sys.prefix) / "track_peers"
MOT15 = Path(os.environ.get("VEEDOR_DATA", ROOT.parent / "shared" / "data")) / "track" / "mot15"
MIN_SPEEDUP = 5.0
REPEATS = 3
FIELDS = ("hota", "mota", "idf1", "num_switches")

Frames = list[tuple[np.ndarray, np.ndarray]]
Answers = list[np.ndarray]


@dataclass(frozen=True)
class Contender:
    """A tracker: how its input is made, what makes it, and how a frame is given to it."""

    prepare: Callable[[Frames], list[Any]]
    make: Callable[[], Any]
    update: Callable[[Any, Any], Any]
    answer: Callable[[Any, Any, Any], np.ndarray]


def ours(options: SortOptions | ByteTrackOptions) -> Contender:
    def prepare(frames: Frames) -> list[Any]:
        return [(boxes, scores, np.zeros(len(scores), np.int64)) for boxes, scores in frames]

    return Contender(
        prepare,
        lambda: make_tracker(options),
        lambda tracker, frame: tracker.update(*frame),
        lambda _given, got, _count: got,
    )


def theirs(name: str, **options: Any) -> Contender:
    import supervision as sv
    import trackers

    def prepare(frames: Frames) -> list[Any]:
        return [
            sv.Detections(
                xyxy=boxes.astype(np.float32).reshape(-1, 4),
                confidence=scores.astype(np.float32),
                class_id=np.zeros(len(scores), int),
                data={"row": np.arange(len(scores))},
            )
            for boxes, scores in frames
        ]

    def answer(given: Any, got: Any, count: int) -> np.ndarray:
        del given
        ids = np.full(count, -1)
        if len(got):
            ids[got.data["row"]] = got.tracker_id
        return ids

    return Contender(
        prepare,
        lambda: getattr(trackers, name)(**options),
        lambda tracker, frame: tracker.update(frame),
        answer,
    )


def contenders() -> dict[str, dict[str, Contender]]:
    """By tracker: ours and theirs, with defaults and with equal parameters."""
    return {
        "SORT": {
            "ours": ours(SortOptions()),
            "ours, equal": ours(SortOptions(max_age=30)),
            "theirs": theirs("SORTTracker"),
        },
        "ByteTrack": {
            "ours": ours(ByteTrackOptions()),
            "theirs": theirs("ByteTrackTracker"),
        },
    }


def follow(contender: Contender, frames: Frames) -> tuple[float, Answers]:
    """Seconds, and an id for each detection."""
    prepared = contender.prepare(frames)
    best, got = float("inf"), []
    for _ in range(REPEATS):
        tracker, got = contender.make(), []
        started = time.perf_counter()
        for frame in prepared:
            got.append(contender.update(tracker, frame))
        best = min(best, time.perf_counter() - started)
    pairs = zip(prepared, got, frames, strict=True)
    return best, [contender.answer(given, found, len(scores)) for given, found, (_, scores) in pairs]


def mot15_frames(rows: MotRows) -> Frames:
    """Detections by frame; scores are of any size here, so their ranks are spread over 0.1 to 1."""
    rank = np.argsort(np.argsort(rows.scores, kind="stable"), kind="stable")
    scores = 0.1 + 0.9 * np.sqrt(rank / max(1, len(rows) - 1))
    return [
        (rows.boxes[rows.frames == frame], scores[rows.frames == frame])
        for frame in range(1, int(rows.frames.max()) + 1)
    ]


def pair(truth: MotRows, frames: Frames, answers: Answers) -> TrackedPair:
    """What was tracked, beside the truth."""
    parts = [
        (np.full(int((ids > 0).sum()) if ids.size else 0, number), ids[ids > 0], boxes[ids > 0])
        for number, ((boxes, _), ids) in enumerate(zip(frames, answers, strict=True), 1)
    ]
    return TrackedPair(
        truth_frames=truth.frames,
        truth_ids=truth.ids,
        truth_boxes=truth.boxes,
        found_frames=np.concatenate([part[0] for part in parts]),
        found_ids=np.concatenate([part[1] for part in parts]),
        found_boxes=np.concatenate([part[2] for part in parts]).reshape(-1, 4),
        ignored=~truth.considered,
    )


def sequences() -> dict[str, tuple[Frames, MotRows]]:
    """Detections and truth of the sequences that quality is measured on."""
    found = {}
    for folder in sorted(MOT15.glob("TUD-*")):
        frames = mot15_frames(read_mot((folder / "det" / "det.txt").read_text()))
        found[folder.name] = (frames, read_mot((folder / "gt" / "gt.txt").read_text()))
    for seed, (name, difficulty) in enumerate(difficulties().items()):
        film = make_film(difficulty, seed=seed)
        counts = [len(ids) for _, ids in film.truth]
        total = sum(counts)
        truth = MotRows(
            np.repeat(np.arange(1, len(counts) + 1), counts),
            np.concatenate([ids for _, ids in film.truth]),
            np.concatenate([boxes for boxes, _ in film.truth]),
            np.ones(total),
            np.zeros(total, np.int64),
        )
        found[name] = (film.detections, truth)
    return found


def main() -> None:
    """Measure speed and quality, and compare."""
    asked = argument_parser("association", __doc__).parse_args()
    if not PEERS.is_dir():
        sys.exit(f"{PEERS} is missing: make bench installs it")
    sys.path.append(str(PEERS))
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    speed = {
        folder.name: mot15_frames(read_mot((folder / "det" / "det.txt").read_text()))
        for folder in sorted(MOT15.glob("*"))
        if folder.is_dir()
    }
    num_frames = sum(map(len, speed.values()))
    films = sequences()
    for name, runs in contenders().items():
        rates, quality = {}, {}
        for who, contender in runs.items():
            rates[who] = num_frames / sum(follow(contender, frames)[0] for frames in speed.values())
            pairs = {
                film: pair(truth, frames, follow(contender, frames)[1])
                for film, (frames, truth) in films.items()
            }
            quality[who] = evaluate_tracking(pairs)
        ratio = rates["ours"] / rates["theirs"]
        claims.append(
            Claim(
                f"{name}: frames/s over the {len(speed)} MOT15 sequences, ÷ `trackers`",
                f"≥ {MIN_SPEEDUP:g}",
                f"{ratio:.1f} ({rates['ours']:,.0f} / {rates['theirs']:,.0f})",
                ratio >= MIN_SPEEDUP,
            )
        )
        claims += [_quality_claim(name, who, quality) for who in runs if who != "theirs"]
        details[name] = {
            who: {
                "frames_per_s": round(rates[who], 1),
                "combined": _figures(found.combined),
                "sequences": {film: _figures(each) for film, each in found.sequences.items()},
            }
            for who, found in quality.items()
        }
    report("association", claims, details, asked.json)


def _quality_claim(name: str, who: str, quality: dict[str, Any]) -> Claim:
    ours, theirs = _figures(quality[who].combined), _figures(quality["theirs"].combined)
    better = all(ours[key] >= theirs[key] - 5e-4 for key in ("hota", "mota", "idf1"))
    settings = "its paper's parameters" if who == "ours" else "the same parameters as `trackers`"
    return Claim(
        f"{name}, {settings}: HOTA / MOTA / IDF1 / id switches over {len(quality[who].sequences)} sequences, "
        "beside `trackers`",
        "equal or better",
        f"{_line(ours)} beside {_line(theirs)}",
        better,
    )


def _figures(metrics: Any) -> dict[str, float]:
    return {key: round(float(getattr(metrics, key)), 4) for key in FIELDS}


def _line(figures: dict[str, float]) -> str:
    return " / ".join(f"{figures[key]:.3f}" for key in FIELDS[:3]) + f" / {figures['num_switches']:.0f}"


if __name__ == "__main__":
    main()
