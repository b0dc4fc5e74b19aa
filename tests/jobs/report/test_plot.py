"""Plots as values: ticks, paths, and names that keep out of each other's way."""

from __future__ import annotations

import math

import pytest

from jobs.report.plot import CHAR_WIDTH, Axis, Mark, Series, draw_plot, fit_axis


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0.0, 1.0), ["0", "0.25", "0.5", "0.75", "1"]),
        (Axis(0.0, 7.3), ["0", "2", "4", "6"]),
        (Axis(1.0, 3.0, whole=True), ["1", "2", "3"]),
        (Axis(1.0, 60.0, whole=True), ["20", "40", "60"]),
        (Axis(0.0, 0.0015), ["0", "0.0005", "0.001", "0.0015"]),
        (Axis(3.0, 140.0, log=True), ["5", "10", "20", "50", "100"]),
        (Axis(0.01, 1000.0, log=True), ["0.01", "0.1", "1", "10", "100", "1,000"]),
        (Axis(6100.0, 6200.0), ["6,100", "6,125", "6,150", "6,175", "6,200"]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[str]) -> None:
    found = axis.ticks()
    assert [name for name, _ in found] == ticks
    places = [place for _, place in found]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)


def test_a_logarithmic_axis_puts_equal_factors_at_equal_distances() -> None:
    axis = Axis(1.0, 100.0, log=True)
    assert [axis.share(value) for value in (1, 10, 100)] == pytest.approx([0, 0.5, 1])


def test_lines_go_through_their_points_and_break_at_gaps() -> None:
    series = Series("a", "#000000", [(0, 0), (1, 1), (2, math.nan), (3, 0.5)])
    plot = draw_plot("t", [series], x_label="x", x=Axis(0, 4), y=Axis(0, 1))
    assert plot.lines[0].path == "M0.0,1000.0L0.0,1000.0L250.0,0.0M750.0,500.0L750.0,500.0"


@pytest.mark.parametrize("values", [[], [3.0], [2.0, 2.0], [0.0, 0.0]])
def test_an_axis_of_little_has_a_length(values: list[float]) -> None:
    for axis in (fit_axis(values), fit_axis(values, from_zero=True)):
        assert axis.high > axis.low
        assert axis.ticks()


def test_names_of_dots_side_by_side_do_not_hide_each_other() -> None:
    marks = [Mark(f"method {k}", "", "#000000", 0.5 + 0.004 * k, 0.5) for k in range(4)]
    plot = draw_plot("t", marks=marks, x_label="x", x=Axis(0, 1), y=Axis(0, 1))
    assert len({dot.side for dot in plot.dots}) == 4
    corner = [Mark("a long name", "", "#000000", 1.0, 0.5), Mark("another name", "", "#000000", 0.0, 0.5)]
    plot = draw_plot("t", marks=corner, x_label="x", x=Axis(0, 1), y=Axis(0, 1))
    assert [dot.side for dot in plot.dots] == ["left", "right"]
    assert len("a long name") * CHAR_WIDTH < 0.5
