"""Tracking metrics against TrackEval, on made-up sequences and on real ones."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from cvcore.metrics.tracking import TrackedPair, TrackingMetrics, evaluate_tracking
from cvcore.track.mot_text import MotRows, read_mot
from tests.cvcore.track.synthetic import Difficulty, make_film
from tests.data import shared_data
from tests.references import reference

NAMES = {
    "HOTA": {
        "hota": "HOTA",
        "deta": "DetA",
        "assa": "AssA",
        "loca": "LocA",
        "det_re": "DetRe",
        "det_pr": "DetPr",
        "ass_re": "AssRe",
        "ass_pr": "AssPr",
    },
    "CLEAR": {
        "mota": "MOTA",
        "motp": "MOTP",
        "num_switches": "IDSW",
        "num_fragments": "Frag",
        "tp": "CLR_TP",
        "fp": "CLR_FP",
        "fn": "CLR_FN",
        "mostly_tracked": "MT",
        "partly_tracked": "PT",
        "mostly_lost": "ML",
    },
    "Identity": {"idf1": "IDF1", "idp": "IDP", "idr": "IDR", "idtp": "IDTP", "idfp": "IDFP", "idfn": "IDFN"},
}


@dataclass(frozen=True)
class Kind:
    """What a made-up sequence is like; probabilities are of a frame (empty) or of a box."""

    num_objects: tuple[int, int] = (1, 12)
    found: float = 0.85
    empty: float = 0.0
    ignored: float = 0.0


KINDS = {
    "plain": Kind(),
    "crowded": Kind(num_objects=(60, 80)),
    "empty frames": Kind(num_objects=(1, 4), found=0.5, empty=0.4),
    "ignored boxes": Kind(ignored=0.3),
}


def random_pair(seed: int, kind: Kind = KINDS["plain"]) -> TrackedPair:
    """Truth, and tracks of it with misses, false boxes, ids that switch and boxes that are off."""
    rng = np.random.default_rng(seed)
    film = make_film(Difficulty(num_objects=int(rng.integers(*kind.num_objects))), seed=seed, num_frames=60)
    truth, found = [], []
    names: dict[int, int] = {}
    fresh = itertools.count(1000)
    for frame, (boxes, ids) in enumerate(film.truth, 1):
        if rng.random() < kind.empty:
            continue
        truth += [(frame, i, *box) for i, box in zip(ids.tolist(), boxes.tolist(), strict=True)]
        for i, box in zip(ids.tolist(), boxes, strict=True):
            if rng.random() < 0.05:
                names[i] = next(fresh)
            if rng.random() < kind.found:
                found.append((frame, names.get(i, i), *(box + rng.normal(0, 8, 4))))
        if rng.random() < 0.4:
            corner = rng.uniform(0, 500, 2)
            found.append((frame, 90_000 + frame, *corner, *(corner + 60)))
    rng.shuffle(found)
    pair = pair_of(np.array(truth, float), np.array(found, float))
    return replace(pair, ignored=rng.random(len(truth)) < kind.ignored) if kind.ignored else pair


def pair_of(truth: np.ndarray, found: np.ndarray) -> TrackedPair:
    truth, found = truth.reshape(-1, 6), found.reshape(-1, 6)
    return TrackedPair(
        truth[:, 0].astype(int),
        truth[:, 1].astype(int),
        truth[:, 2:],
        found[:, 0].astype(int),
        found[:, 1].astype(int),
        found[:, 2:],
    )


def trackeval_data(pair: TrackedPair) -> dict[str, object]:
    """What TrackEval's own reader would make of a sequence: its IoU, its way with distractors, all frames."""
    ious = reference("trackeval").datasets._base_dataset._BaseDataset._calculate_box_ious
    eps = np.finfo(float).eps
    ignored = np.zeros(len(pair.truth_ids), bool) if pair.ignored is None else pair.ignored
    truth, found, similarity = [], [], []
    for frame in range(1, max([*pair.truth_frames, *pair.found_frames]) + 1):
        at, of = pair.truth_frames == frame, pair.found_frames == frame
        overlap = ious(pair.truth_boxes[at], pair.found_boxes[of], box_format="x0y0x1y1")
        score = np.where(overlap < 0.5 - eps, 0, overlap)
        rows, columns = linear_sum_assignment(-score)
        matched = score[rows, columns] > eps
        dropped = columns[matched & ignored[at][rows]]
        truth.append(pair.truth_ids[at][~ignored[at]])
        found.append(np.delete(pair.found_ids[of], dropped))
        similarity.append(np.delete(overlap[~ignored[at]], dropped, axis=1))
    true_ids, found_ids = np.unique(np.concatenate(truth)), np.unique(np.concatenate(found))
    return {
        "num_timesteps": len(similarity),
        "num_gt_ids": len(true_ids),
        "num_tracker_ids": len(found_ids),
        "num_gt_dets": sum(map(len, truth)),
        "num_tracker_dets": sum(map(len, found)),
        "gt_ids": [np.searchsorted(true_ids, ids) for ids in truth],
        "tracker_ids": [np.searchsorted(found_ids, ids) for ids in found],
        "similarity_scores": similarity,
    }


def theirs(pairs: dict[str, TrackedPair]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """TrackEval's figures of each sequence and together, under our names."""
    metrics = reference("trackeval").metrics
    single: dict[str, dict[str, float]] = {name: {} for name in pairs}
    combined: dict[str, float] = {}
    for kind, names in NAMES.items():
        metric = getattr(metrics, kind)()
        found = {name: metric.eval_sequence(trackeval_data(pair)) for name, pair in pairs.items()}
        together = metric.combine_sequences(found)
        for ours, other in names.items():
            for name in pairs:
                single[name][ours] = float(np.mean(found[name][other]))
            combined[ours] = float(np.mean(together[other]))
    return single, combined


def check_equal(found: TrackingMetrics, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_random_sequences_are_measured_as_trackeval_does(kind: str, seed: int) -> None:
    pairs = {f"s{k}": random_pair(10 * seed + k, KINDS[kind]) for k in range(3)}
    found = evaluate_tracking(pairs)
    single, combined = theirs(pairs)
    for name in pairs:
        check_equal(found.sequences[name], single[name])
    check_equal(found.combined, combined)


NOTHING = np.zeros((0, 6))
FAR = np.array([0, 0, 500, 0, 500, 0], float)
SOME = np.array([[1, 1, 0, 0, 10, 10], [2, 1, 0, 0, 10, 10]], float)


@pytest.mark.parametrize(("truth", "tracks"), [(SOME, NOTHING), (NOTHING, SOME), (SOME, SOME + FAR)])
def test_sequences_without_a_match_are_measured_as_trackeval_does(
    truth: np.ndarray, tracks: np.ndarray
) -> None:
    pairs = {"plain": random_pair(1), "odd": pair_of(truth, tracks)}
    found = evaluate_tracking(pairs)
    single, combined = theirs(pairs)
    check_equal(found.sequences["odd"], single["odd"])
    check_equal(found.combined, combined)
    alone = {"odd": pairs["odd"], "again": pairs["odd"]}
    check_equal(evaluate_tracking(alone).combined, theirs(alone)[1])


def test_a_sequence_that_holds_nothing_has_no_figures() -> None:
    found = evaluate_tracking({"s": pair_of(NOTHING, NOTHING)}).combined
    assert (found.hota, found.mota, found.idf1, found.num_frames, found.num_true_tracks) == (0, 0, 0, 0, 0)


def test_the_order_of_rows_does_not_matter() -> None:
    pair = random_pair(6, KINDS["ignored boxes"])
    assert pair.ignored is not None
    order = np.random.default_rng(0).permutation(len(pair.truth_ids))
    mixed = replace(
        pair,
        truth_frames=pair.truth_frames[order],
        truth_ids=pair.truth_ids[order],
        truth_boxes=pair.truth_boxes[order],
        ignored=pair.ignored[order],
    )
    found, expected = evaluate_tracking({"s": mixed}).combined, evaluate_tracking({"s": pair}).combined
    check_equal(found, asdict(expected))


def rows_pair(truth: MotRows, found: MotRows) -> TrackedPair:
    return TrackedPair(
        truth.frames, truth.ids, truth.boxes, found.frames, found.ids, found.boxes, ~truth.considered
    )


def test_real_sequences_are_measured_as_trackeval_does() -> None:
    folders = sorted(shared_data("track", "mot15").glob("TUD-*"))
    assert len(folders) == 2
    pairs = {}
    for folder in folders:
        (example,) = [path for path in (folder / "example").rglob("*") if path.is_file()] or [
            folder / "example"
        ]
        pairs[folder.name] = rows_pair(
            read_mot((folder / "gt" / "gt.txt").read_text()), read_mot(example.read_text())
        )
    found = evaluate_tracking(pairs)
    single, combined = theirs(pairs)
    for name in pairs:
        check_equal(found.sequences[name], single[name])
    check_equal(found.combined, combined)
    assert 0.2 < found.combined.hota < 0.95


def test_the_truth_itself_is_perfect() -> None:
    pair = random_pair(3)
    perfect = replace(
        pair, found_frames=pair.truth_frames, found_ids=pair.truth_ids + 7, found_boxes=pair.truth_boxes
    )
    found = evaluate_tracking({"s": perfect}).combined
    for name in ("hota", "deta", "assa", "loca", "mota", "idf1"):
        assert getattr(found, name) == pytest.approx(1.0)
    assert (found.num_switches, found.fp, found.fn) == (0, 0, 0)


def test_ignored_boxes_are_neither_missed_nor_false() -> None:
    pair = random_pair(4)
    found = evaluate_tracking({"s": replace(pair, ignored=np.zeros(len(pair.truth_ids), bool))})
    assert found == evaluate_tracking({"s": pair})
    first = pair.truth_ids == pair.truth_ids[0]
    itself = replace(
        pair,
        found_frames=pair.truth_frames,
        found_ids=pair.truth_ids,
        found_boxes=pair.truth_boxes,
        ignored=first,
    )
    without = evaluate_tracking({"s": itself}).combined
    assert (without.fp, without.fn, without.tp) == (0, 0, int((~first).sum()))
    assert without.num_true_tracks == len(np.unique(pair.truth_ids)) - 1


def test_an_id_that_stands_twice_in_a_frame_is_refused() -> None:
    pair = random_pair(5)
    double = replace(
        pair,
        found_frames=np.append(pair.found_frames, pair.found_frames[0]),
        found_ids=np.append(pair.found_ids, pair.found_ids[0]),
        found_boxes=np.concatenate([pair.found_boxes, pair.found_boxes[:1]]),
    )
    with pytest.raises(ValueError, match=r"tracks of line-3 has the id .* more than once in frame"):
        evaluate_tracking({"line-3": double})


def test_an_id_that_stands_twice_in_a_frame_of_the_truth_is_refused() -> None:
    double = pair_of(np.concatenate([SOME, SOME[1:]]), SOME)
    with pytest.raises(ValueError, match="the truth of line-3 has the id 1 more than once in frame 2"):
        evaluate_tracking({"line-3": double})


def test_columns_that_disagree_are_refused() -> None:
    pair = random_pair(7)
    with pytest.raises(ValueError, match="found: frames, ids and boxes are"):
        replace(pair, found_ids=pair.found_ids[1:])
    with pytest.raises(ValueError, match="truth: frames, ids and boxes are"):
        replace(pair, truth_boxes=pair.truth_boxes[:, :2])
    with pytest.raises(ValueError, match=r"ignored is \(1,\), the truth has"):
        replace(pair, ignored=np.zeros(1, bool))


def test_no_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="no sequences"):
        evaluate_tracking({})
