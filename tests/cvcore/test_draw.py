"""What is drawn is where it should be, and nothing is drawn over the caller's picture."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from cvcore.draw import DrawnBox, Trail, draw_scene, track_color

BLANK = np.full((200, 300, 3), 90, np.uint8)


def test_a_box_has_its_colour_along_its_edges() -> None:
    color = track_color(5)
    drawn = draw_scene(BLANK, [DrawnBox((50, 60, 150, 160), "", color)])
    for y, x in ((60, 100), (160, 100), (110, 50), (110, 150)):
        assert tuple(drawn[y, x]) == color
    assert (drawn[80:140, 70:130] == 90).all(), "what is inside stays to be seen"
    assert (BLANK == 90).all()


def test_lines_are_as_wide_as_asked_for() -> None:
    boxes = [DrawnBox((50, 60, 150, 160), "", (255, 0, 0))]
    widths = [
        (draw_scene(BLANK, boxes, line_px=line)[110, :100] == (255, 0, 0)).all(axis=1).sum()
        for line in (None, 2, 5)
    ]
    assert widths == [1, 2, 5]


@pytest.mark.parametrize("box", [(-20, -20, 40, 40), (280, 180, 340, 240), (100, 0, 120, 10)])
def test_texts_stay_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    plain = draw_scene(BLANK, [DrawnBox(box, "", (255, 0, 0))])
    named = draw_scene(BLANK, [DrawnBox(box, "#12 bolt 0.93", (255, 0, 0))])
    assert (named != plain).any(axis=2).sum() > 200, "the tag is seen, whole or nearly"


def test_trails_fade_with_age_and_end_where_they_should() -> None:
    points = [(20, 50, 0.2), (60, 50, 0.5), (100, 50, 1.0)]
    drawn = draw_scene(BLANK, [], [Trail(points, (0, 255, 0))])
    assert tuple(drawn[50, 95]) == (0, 255, 0)
    assert drawn[50, 40].astype(float) == pytest.approx([45, 172, 45], abs=2), (
        "half of the colour, half of the picture"
    )
    assert (drawn[50, 110] == 90).all()
    assert (drawn[40, :] == 90).all()


def test_boxes_stand_out_from_a_background_of_their_own_colour() -> None:
    green = np.full((100, 100, 3), (0, 255, 0), np.uint8)
    drawn = draw_scene(green, [DrawnBox((20, 20, 80, 80), "", (0, 255, 0))])
    assert tuple(drawn[20, 50]) == (0, 255, 0)
    assert drawn[19, 50, 1] < 160
    assert drawn[21, 50, 1] < 160


def test_boxes_that_were_not_seen_are_dashed() -> None:
    red = (255, 0, 0)
    drawn = draw_scene(BLANK, [DrawnBox((50, 60, 150, 160), "", red, faint=True)])
    for side in (drawn[60, 50:151], drawn[160, 50:151], drawn[60:161, 50], drawn[60:161, 150]):
        colored = (side == red).all(axis=1)
        assert colored[[0, -1]].all(), "corners are drawn"
        assert 0.4 < colored.mean() < 0.75
        assert (np.diff(colored.astype(int)) == 1).sum() > 5, "in many dashes"
        assert (side == 90).all(axis=1).any(), "the picture is seen between them"
    assert (drawn[70:150, 60:140] == 90).all()


@pytest.mark.parametrize("box", [(20, 20, 20, 20), (20, 20, 22, 60), (-1e9, 30, 1e9, 1e9), (40, 40, 10, 10)])
def test_dashes_fit_boxes_of_every_size(box: tuple[float, float, float, float]) -> None:
    started = time.perf_counter()
    drawn = draw_scene(BLANK, [DrawnBox(box, "", (255, 0, 0), faint=True)])
    assert time.perf_counter() - started < 1
    assert (drawn == (255, 0, 0)).all(axis=2).any()


def test_huge_boxes_and_far_trails_cost_nothing() -> None:
    far = Trail([(5.0, 5.0, 0.9), (1e9, -1e9, 1.0)], (255, 0, 0))
    started = time.perf_counter()
    drawn = draw_scene(BLANK, [DrawnBox((-1e9, 30, 1e9, 1e9), "#1 all", (255, 0, 0))], [far])
    assert time.perf_counter() - started < 1
    assert tuple(drawn[30, 200]) == (255, 0, 0), "the edge that can be seen"
    assert (drawn[100:150, 50:250] == 90).all()


def test_the_note_leaves_tags_at_the_top_alone() -> None:
    box = DrawnBox((0, 0, 120, 100), "#1 bolt", (255, 220, 0))
    plain, noted = draw_scene(BLANK, [box]), draw_scene(BLANK, [box], note="55  4.58 s")
    differs = (plain != noted).any(axis=2)
    assert differs.any()
    assert not differs[:150].any()
    assert not differs[-1].any(), "it lies inside of the picture"


def test_the_first_of_overlapping_boxes_lies_on_top() -> None:
    best = DrawnBox((50, 60, 150, 160), "best", (255, 0, 0))
    worse = DrawnBox((50, 60, 150, 160), "much worse", (0, 0, 255))
    drawn = draw_scene(BLANK, [best, worse])
    assert tuple(drawn[160, 100]) == (255, 0, 0)
    alone = draw_scene(BLANK, [best])
    assert (drawn[49:60, 50:70] == alone[49:60, 50:70]).all(), "its tag too"


def test_an_alarm_frames_the_picture_in_red() -> None:
    calm, alarmed = draw_scene(BLANK, [], note="7"), draw_scene(BLANK, [], note="7", alarm=True)
    assert (calm[-1] == 90).all()
    assert (alarmed[-1, :, 0] == 200).all()
    assert (alarmed[100, 0] == (200, 30, 30)).all()


def test_colours_are_steady_and_neighbours_differ() -> None:
    colors = [track_color(i) for i in range(1, 40)]
    assert colors == [track_color(i) for i in range(1, 40)]
    for one, two in pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(one, two, strict=True)) > 90
