"""What SORT and ByteTrack do, as tables of small films; and what holds for both."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from cvcore.track.association import associate
from cvcore.track.base import UNTRACKED, Tracker
from cvcore.track.bytetrack import ByteTrack
from cvcore.track.catalog import TRACKERS, make_tracker
from cvcore.track.options import ByteTrackOptions, SortOptions
from cvcore.track.tracks import BEGAN, SEEN

Frame = list[tuple[float, float, float, int]]  # x, y, score, label of boxes 40 wide and 60 high
EVERY = [SortOptions(min_hits=1, max_age=3), ByteTrackOptions(), ByteTrackOptions(class_aware=True)]
IDS = ["sort", "bytetrack", "bytetrack, class-aware"]


def arrays(frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(frame, float).reshape(-1, 4)
    boxes = np.concatenate([table[:, :2], table[:, :2] + [40, 60]], axis=1)
    return boxes, table[:, 2], table[:, 3].astype(np.int64)


def run(tracker: Tracker, film: list[Frame]) -> list[list[int]]:
    return [tracker.update(*arrays(frame)).tolist() for frame in film]


def walk(num_frames: int, *, x: float = 0, y: float = 0, score: float = 0.9, label: int = 0) -> list[Frame]:
    """Something that moves right by 5 pixels a frame."""
    return [[(x + 5 * t, y, score, label)] for t in range(num_frames)]


def crowd(seed: int, num_frames: int = 60) -> list[Frame]:
    """Things that cross, with misses, false alarms and scores of all heights."""
    rng = np.random.default_rng(seed)
    starts, speeds = rng.uniform(0, 400, (8, 2)), rng.uniform(-6, 6, (8, 2))
    film = []
    for t in range(num_frames):
        frame = [
            (*(start + t * speed + rng.normal(0, 1, 2)), rng.uniform(0.05, 1.0), k % 3)
            for k, (start, speed) in enumerate(zip(starts, speeds, strict=True))
            if rng.random() < 0.85
        ]
        frame += [(*rng.uniform(0, 400, 2), rng.uniform(0, 1), 0) for _ in range(rng.poisson(1))]
        film.append(frame)
    return film


@pytest.mark.parametrize("options", EVERY, ids=IDS)
def test_what_moves_on_keeps_one_id(options: SortOptions | ByteTrackOptions) -> None:
    found = run(make_tracker(options), walk(30))
    assert {i for (i,) in found} == {1}


@pytest.mark.parametrize("options", EVERY, ids=IDS)
def test_what_is_hidden_for_a_while_keeps_its_id(options: SortOptions | ByteTrackOptions) -> None:
    film = walk(30)
    film[15:18] = [[], [], []]
    found = run(make_tracker(options), film)
    assert [ids for ids in found if ids] == [[1]] * 27


@pytest.mark.parametrize("options", EVERY, ids=IDS)
def test_what_is_hidden_for_too_long_comes_back_as_another(options: SortOptions | ByteTrackOptions) -> None:
    film = walk(90)
    film[30:75] = [[]] * 45
    found = run(make_tracker(options), film)
    assert found[29] == [1]
    assert found[-1] == [2]


def test_sort_believes_after_enough_hits() -> None:
    tracker = make_tracker(SortOptions(min_hits=3))
    still = [(300.0, 300.0, 0.9, 0)]
    for _ in range(5):
        assert tracker.update(*arrays(still)).tolist() == [1], "in the first frames no hits are needed"
    late = [tracker.update(*arrays([*still, (10.0, 10.0, 0.9, 0)])).tolist() for _ in range(4)]
    assert late == [[1, UNTRACKED], [1, UNTRACKED], [1, 2], [1, 2]]


def test_bytetrack_believes_what_is_seen_twice() -> None:
    tracker = make_tracker(ByteTrackOptions())
    still = (300.0, 300.0, 0.9, 0)
    assert tracker.update(*arrays([still])).tolist() == [1], "the first frame's are believed at once"
    assert tracker.update(*arrays([still, (10.0, 10.0, 0.9, 0)])).tolist() == [1, UNTRACKED]
    assert tracker.update(*arrays([still, (10.0, 10.0, 0.9, 0)])).tolist() == [1, 2]
    assert tracker.update(*arrays([still, (200.0, 10.0, 0.9, 0)])).tolist() == [1, UNTRACKED]
    assert tracker.update(*arrays([still])).tolist() == [1]
    found = tracker.update(*arrays([still, (200.0, 10.0, 0.9, 0)])).tolist()
    assert found == [1, UNTRACKED], "seen once and not again, it has to begin anew"


def test_low_scores_keep_a_bytetrack_alive_and_begin_none() -> None:
    film = walk(10) + [[(x, y, 0.3, label) for x, y, _, label in frame] for frame in walk(60)[10:]]
    assert {i for (i,) in run(make_tracker(ByteTrackOptions()), film)} == {1}
    only_low = run(make_tracker(ByteTrackOptions()), walk(20, score=0.3))
    assert {i for (i,) in only_low} == {UNTRACKED}
    below = run(make_tracker(ByteTrackOptions()), walk(10) + walk(60, score=0.05)[10:])
    assert below[10:] == [[UNTRACKED]] * 50


def test_lost_bytetracks_are_not_found_by_low_scores() -> None:
    film = walk(40)
    film[10:14] = [[]] * 4
    film[14:] = [[(x, y, 0.3, label) for x, y, _, label in frame] for frame in film[14:]]
    assert run(make_tracker(ByteTrackOptions()), film)[14:] == [[UNTRACKED]] * 26


@pytest.mark.parametrize("name", TRACKERS)
def test_class_aware_tracks_never_mix(name: str) -> None:
    film = [*walk(10, label=0), *[[(x, y, s, 1) for x, y, s, _ in frame] for frame in walk(30)[10:]]]
    options = {"sort": SortOptions, "bytetrack": ByteTrackOptions}[name]
    mixed = run(make_tracker(options(class_aware=False)), film)
    apart = run(make_tracker(options(class_aware=True)), film)
    assert {i for (i,) in mixed} == {1}
    assert apart[9] == [1]
    assert apart[-1] == [2]


@pytest.mark.parametrize("options", EVERY, ids=IDS)
@pytest.mark.parametrize("seed", range(4))
def test_each_detection_has_an_answer_and_no_id_stands_twice(
    options: SortOptions | ByteTrackOptions, seed: int
) -> None:
    film = crowd(seed)
    found = run(make_tracker(options), film)
    seen: set[int] = set()
    for frame, ids in zip(film, found, strict=True):
        assert len(ids) == len(frame)
        given = [i for i in ids if i != UNTRACKED]
        assert len(given) == len(set(given))
        seen |= set(given)
    assert seen == set(range(1, len(seen) + 1)), "ids count from 1 without gaps"
    assert run(make_tracker(options), film) == found, "a fresh tracker does the same again"


@pytest.mark.parametrize("options", EVERY, ids=IDS)
def test_the_order_of_detections_does_not_matter(options: SortOptions | ByteTrackOptions) -> None:
    rng = np.random.default_rng(5)
    plain, mixed = make_tracker(options), make_tracker(options)
    names: dict[int, int] = {UNTRACKED: UNTRACKED}
    for frame in crowd(11):
        boxes, scores, labels = arrays(frame)
        order = rng.permutation(len(scores))
        ours = plain.update(boxes, scores, labels)[order].tolist()
        theirs = mixed.update(boxes[order], scores[order], labels[order]).tolist()
        for one, other in zip(ours, theirs, strict=True):
            assert names.setdefault(one, other) == other, "the same tracks, under other names"


@pytest.mark.parametrize("options", EVERY, ids=IDS)
def test_films_without_anything_are_no_error(options: SortOptions | ByteTrackOptions) -> None:
    assert run(make_tracker(options), [[]] * 5) == [[]] * 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SortOptions(min_iou=1.5), "min_iou must be between 0 and 1"),
        (lambda: SortOptions(max_age=0), "max_age must be at least 1"),
        (lambda: ByteTrackOptions(low_score=0.7), "must not fall"),
        (lambda: ByteTrackOptions(max_lost=-1), "max_lost must be at least 0"),
    ],
)
def test_parameters_that_cannot_be_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def pair_up(gain: np.ndarray) -> list[tuple[int, int]]:
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(i, k) for i, k in zip(rows.tolist(), columns.tolist(), strict=True) if gain[i, k] > 0]


@pytest.mark.parametrize("seed", range(40))
def test_one_assignment_is_bytetracks_three(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_tracks, num_detections = rng.integers(1, 25, 2)
    options = ByteTrackOptions(fuse_score=bool(seed % 2))
    iou = rng.random((num_tracks, num_detections)) * (rng.random((num_tracks, num_detections)) < 0.6)
    kind = rng.choice([0, 1, -1], num_tracks).astype(np.int8)
    scores = rng.random(num_detections)
    high, low = scores >= options.high_score, (scores >= options.low_score) & (scores < options.high_score)
    fused = iou * scores if options.fuse_score else iou

    pairs = pair_up(np.maximum(fused - options.min_iou_first, 0) * np.outer(kind != 1, high))
    rows, columns = np.zeros(num_tracks, bool), np.zeros(num_detections, bool)
    rows[[i for i, _ in pairs]] = True
    columns[[k for _, k in pairs]] = True
    pairs += pair_up(np.maximum(iou - options.min_iou_second, 0) * np.outer((kind == 0) & ~rows, low))
    pairs += pair_up(
        np.maximum(fused - options.min_iou_unconfirmed, 0) * np.outer(kind == 1, high & ~columns)
    )

    tracker = ByteTrack(options)
    column_of, _ = associate(tracker._gain(iou, kind, scores, np.zeros(num_detections, np.int64)))
    found = [(i, k) for i, k in enumerate(column_of.tolist()) if k >= 0]
    assert found == sorted(pairs)


@pytest.mark.parametrize(
    ("began", "overlap", "labels", "class_aware", "kept"),
    [
        pytest.param((1, 10), 0.9, (0, 0), False, [True, False], id="the lost one was followed for longer"),
        pytest.param((9, 10), 0.9, (0, 0), False, [False, True], id="the one that is seen was"),
        pytest.param((5, 10), 0.9, (0, 0), False, [True, False], id="for as long: the lost one stays"),
        pytest.param((1, 10), 0.8, (0, 0), False, [True, True], id="too far apart"),
        pytest.param((1, 10), 0.9, (0, 1), False, [True, False], id="classes do not matter"),
        pytest.param((1, 10), 0.9, (0, 1), True, [True, True], id="classes matter"),
    ],
)
def test_of_doubles_one_is_dropped(
    began: tuple[int, int], overlap: float, labels: tuple[int, int], class_aware: bool, kept: list[bool]
) -> None:
    tracker = ByteTrack(ByteTrackOptions(class_aware=class_aware))
    tracker._tracks.begin(np.ones((4, 2)), np.array(labels), 1)
    tracker._tracks.table[BEGAN] = began
    tracker._tracks.table[SEEN] = 20, 25  # the first is lost
    tracker._frame = 25
    similarity = np.array([[0.0, overlap, overlap], [0.0, 0.95, 0.0]])
    keep = tracker._keep(np.array([False, True]), np.array([True, True]), similarity, np.array([-1, 1, -1]))
    assert keep.tolist() == kept


@pytest.mark.parametrize("options", EVERY, ids=IDS)
@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 31], list(range(1, 60))])
def test_cuts_between_frames_do_not_matter(options: SortOptions | ByteTrackOptions, cuts: list[int]) -> None:
    film = crowd(21)
    tracker, found = make_tracker(options), []
    for start, stop in zip([0, *cuts], [*cuts, len(film)], strict=True):
        found += run(tracker, film[start:stop])
        other = make_tracker(options)  # a tracker of another video beside it
        run(other, film[:5])
    assert found == run(make_tracker(options), film)
