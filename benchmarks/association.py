"""Association alone: frames a second, and how right the tracks are, against the PyPI package `trackers`.

    python benchmarks/association.py [--json]

Both get the same detections, frame by frame, as arrays of their own kind that are made before the clock runs;
sequence by sequence they take turns, and the best of several runs counts. Speed: the detections of the 11
MOT15 sequences. Quality: the two of them that have ground truth, and twenty made-up sequences
(tests/cvcore/track/synthetic.py), as means over sequences. Each tracker runs with its own defaults, and with
what the other side or the paper has otherwise, made equal:

* SORT's paper ends a track after one frame without a detection. `trackers` does after 30, and so do our
  defaults: all other parameters of the two are equal anyway.
* ByteTrack's authors ask for an IoU of 0.2, 0.5 and 0.3 in the three associations, `trackers` for 0.1 in both
  of its two.
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
REPEATS = 5
FIELDS = ("hota", "mota", "idf1", "num_switches")
TOLERANCE = 5e-4

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


def contests() -> dict[str, dict[str, tuple[Contender, Contender]]]:
    """By tracker and setting: ours and theirs. Speed is measured with the first setting of each."""
    least = 0.1
    equal = ByteTrackOptions(min_iou_first=least, min_iou_second=least, min_iou_unconfirmed=least)
    return {
        "SORT": {
            "defaults": (ours(SortOptions()), theirs("SORTTracker")),
            "a track ends after 1 frame, as in the paper": (
                ours(SortOptions(max_age=1)),
                theirs("SORTTracker", lost_track_buffer=1),
            ),
        },
        "ByteTrack": {
            "defaults": (ours(ByteTrackOptions()), theirs("ByteTrackTracker")),
            f"least IoU {least:g} throughout": (
                ours(equal),
                theirs("ByteTrackTracker", minimum_iou_threshold=least),
            ),
        },
    }


def follow(contender: Contender, prepared: list[Any]) -> tuple[float, list[Any]]:
    """Seconds, and what the tracker gave for each frame."""
    tracker = contender.make()
    started = time.perf_counter()
    got = [contender.update(tracker, frame) for frame in prepared]
    return time.perf_counter() - started, got


def answers(contender: Contender, frames: Frames) -> Answers:
    """An id for each detection."""
    prepared = contender.prepare(frames)
    _, got = follow(contender, prepared)
    triples = zip(prepared, got, frames, strict=True)
    return [contender.answer(given, found, len(scores)) for given, found, (_, scores) in triples]


def rates(pair_: tuple[Contender, Contender], films: list[Frames]) -> tuple[float, float]:
    """Frames a second of both over all films, of the best run of each film."""
    seconds = np.zeros(2)
    for frames in films:
        prepared = [each.prepare(frames) for each in pair_]
        runs = [
            [follow(each, given)[0] for each, given in zip(pair_, prepared, strict=True)]
            for _ in range(REPEATS)
        ]
        seconds += np.min(runs, axis=0)
    first, second = sum(map(len, films)) / seconds
    return float(first), float(second)


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


def group_of(name: str) -> str:
    """TUD for both real sequences, and the kind of trouble of the others."""
    return "TUD" if name.startswith("TUD") else name.partition(",")[0].rstrip(" 0123456789")


def quality(contender: Contender, films: dict[str, tuple[Frames, MotRows]]) -> dict[str, Any]:
    """Means over sequences: of all, of each group; and the figures of each."""
    pairs = {name: pair(truth, frames, answers(contender, frames)) for name, (frames, truth) in films.items()}
    found = evaluate_tracking(pairs)
    each = {name: {key: float(getattr(m, key)) for key in FIELDS} for name, m in found.sequences.items()}
    groups: dict[str, list[dict[str, float]]] = {}
    for name, figures in each.items():
        groups.setdefault(group_of(name), []).append(figures)
    return {
        "mean": _mean(list(each.values())),
        "groups": {name: _mean(members) for name, members in groups.items()},
        "sequences": {name: {key: round(value, 4) for key, value in fs.items()} for name, fs in each.items()},
    }


def _mean(figures: list[dict[str, float]]) -> dict[str, float]:
    return {key: round(float(np.mean([each[key] for each in figures])), 4) for key in FIELDS}


def main() -> None:
    """Measure speed and quality, and compare."""
    asked = argument_parser("association", __doc__).parse_args()
    if not PEERS.is_dir():
        sys.exit(f"{PEERS} is missing: make bench installs it")
    sys.path.append(str(PEERS))
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    folders = [folder for folder in sorted(MOT15.glob("*")) if folder.is_dir()]
    real = [mot15_frames(read_mot((folder / "det" / "det.txt").read_text())) for folder in folders]
    films = sequences()
    crowded = [frames for name, (frames, _) in films.items() if name.startswith("crowding")]
    for name, settings in contests().items():
        details[name] = {}
        first = next(iter(settings.values()))
        for which, of, target in (
            (f"the {len(real)} MOT15 sequences", real, MIN_SPEEDUP),
            ("the crowded made-up sequences", crowded, None),
        ):
            mean = np.mean([len(scores) for frames in of for _, scores in frames])
            mine, other = rates(first, of)
            claims.append(
                Claim(
                    f"{name}: frames/s over {which} ({mean:.1f} detections a frame), ÷ `trackers`",
                    f"≥ {target:g}" if target else "-",
                    f"{mine / other:.1f} ({mine:,.0f} / {other:,.0f})",
                    mine / other >= target if target else None,
                )
            )
        for setting, (mine_, other_) in settings.items():
            both = {"ours": quality(mine_, films), "trackers": quality(other_, films)}
            details[name][setting] = both
            claims.append(_quality_claim(name, setting, both, len(films)))
    report("association", claims, details, asked.json)


def _quality_claim(name: str, setting: str, both: dict[str, Any], num_films: int) -> Claim:
    mine, other = both["ours"]["mean"], both["trackers"]["mean"]
    return Claim(
        f"{name}, {setting}: HOTA / MOTA / IDF1 / id switches, means over {num_films} sequences, "
        "beside `trackers`",
        "first three equal or better",
        f"{_line(mine)} beside {_line(other)}",
        all(mine[key] >= other[key] - TOLERANCE for key in FIELDS[:3]),
    )


def _line(figures: dict[str, float]) -> str:
    return " / ".join(f"{figures[key]:.3f}" for key in FIELDS[:3]) + f" / {figures['num_switches']:.1f}"


if __name__ == "__main__":
    main()
