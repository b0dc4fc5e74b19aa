"""What is drawn is where it should be, and nothing is drawn over the caller's picture."""

from __future__ import annotations

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


@pytest.mark.parametrize("box", [(-20, -20, 40, 40), (280, 180, 340, 240), (100, 0, 120, 10)])
def test_texts_stay_inside_the_picture(box: tuple[float, float, float, float]) -> None:
    plain = draw_scene(BLANK, [DrawnBox(box, "", (255, 0, 0))])
    named = draw_scene(BLANK, [DrawnBox(box, "#12 bolt 0.93", (255, 0, 0))])
    assert (named != plain).any(axis=2).sum() > 200, "the tag is seen, whole or nearly"


def test_trails_end_where_they_should() -> None:
    drawn = draw_scene(BLANK, [], [Trail([(20, 50), (60, 50), (100, 50)], (0, 255, 0))])
    assert tuple(drawn[50, 40]) == (0, 255, 0)
    assert tuple(drawn[50, 95]) == (0, 255, 0)
    assert (drawn[50, 110] == 90).all()


def test_colours_are_steady_and_neighbours_differ() -> None:
    colors = [track_color(i) for i in range(1, 40)]
    assert colors == [track_color(i) for i in range(1, 40)]
    for one, two in pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(one, two, strict=True)) > 90
