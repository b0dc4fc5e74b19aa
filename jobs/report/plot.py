"""Plots of lines and dots as plain values: paths of SVG on a stage of 1000 by 1000, places as shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from jobs.report import text

STAGE = 1000
NUM_TICKS = 4
HEADROOM = 0.06
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)

CHAR_WIDTH, NAME_HEIGHT, GAP = 0.0062, 0.055, 0.008
"""Shares of a tall plot's sides that a letter, a name and the space beside a dot take, about."""

Side = Literal["right", "left", "above", "below"]
Area = tuple[float, float, float, float]
Tick = tuple[str, float]


@dataclass(frozen=True, slots=True)
class Series:
    """Points (x, y) that a line joins in their order; it breaks where one is not finite."""

    name: str
    color: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A single point with its name, and more that is said when it is pointed at."""

    name: str
    title: str
    color: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn series: `path` as SVG has it."""

    name: str
    color: str
    path: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A drawn mark: where, 0 to 1 from the lower left, and on which side of it its name is written."""

    name: str
    title: str
    color: str
    x: float
    y: float
    side: Side


@dataclass(frozen=True, slots=True)
class Axis:
    """What one axis spans; `log` if it grows by factors, `whole` if it counts."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def share(self, value: float) -> float:
        """Where a value is, 0 to 1; beyond the ends, at them."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return min(1.0, max(0.0, (at - low) / (high - low)))

    def ticks(self) -> tuple[Tick, ...]:
        """Round values, and where they are."""
        if self.log:
            values = _round_factors(self.low, self.high)
        else:
            values = _round_steps(self.low, self.high, least=1.0 if self.whole else 0.0)
        return tuple((_tick_text(value), self.share(value)) for value in values)


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as drawn; `rule` is where a vertical line stands, 0 to 1."""

    title: str
    note: str
    x_label: str
    lines: tuple[Line, ...]
    dots: tuple[Dot, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    rule: float | None


def draw_plot(
    title: str,
    series: Sequence[Series] = (),
    marks: Sequence[Mark] = (),
    *,
    x_label: str,
    note: str = "",
    x: Axis | None = None,
    y: Axis | None = None,
    rule: float | None = None,
) -> Plot:
    """Lay series and marks out on common axes.

    Args:
        title, note, x_label: what the plot says of itself.
        series, marks: what is drawn.
        x, y: the axes; by default all finite points fit, and y begins at 0 where nothing is below.
        rule: an x at which a vertical line stands.
    """
    points = [p for each in series for p in each.points if all(map(math.isfinite, p))]
    points += [(each.x, each.y) for each in marks]
    across = x or fit_axis([p[0] for p in points])
    up = y or fit_axis([p[1] for p in points], from_zero=True, headroom=HEADROOM)
    return Plot(
        title=title,
        note=note,
        x_label=x_label,
        lines=tuple(Line(s.name, s.color, _path(s, across, up)) for s in series),
        dots=_place_dots(marks, across, up),
        x_ticks=across.ticks(),
        y_ticks=up.ticks(),
        rule=None if rule is None else across.share(rule),
    )


def fit_axis(
    values: Sequence[float],
    *,
    log: bool = False,
    from_zero: bool = False,
    headroom: float = 0.0,
) -> Axis:
    """The axis that holds all values, and of one value alone something around it.

    Args:
        values: finite; above 0 if `log`.
        log: whether it grows by factors.
        from_zero: begin at 0 where nothing is below.
        headroom: share of the axis that is left free at its end; of a logarithmic one, at both.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log:
        factor = max(1.3, (high / low) ** headroom)
        return Axis(low / factor, high * factor, log=True)
    low = min(low, 0.0) if from_zero else low
    high = high + headroom * (high - low)
    return Axis(low, high if high > low else low + 1.0)


def _path(series: Series, across: Axis, up: Axis) -> str:
    commands: list[str] = []
    lost = True
    for x, y in series.points:
        if not (math.isfinite(x) and math.isfinite(y)):
            lost = True
            continue
        point = f"{STAGE * across.share(x):.1f},{STAGE * (1 - up.share(y)):.1f}"
        # A second, equal point shows a line of one point as a dot.
        commands.append(f"M{point}L{point}" if lost else f"L{point}")
        lost = False
    return "".join(commands)


def _place_dots(marks: Sequence[Mark], across: Axis, up: Axis) -> tuple[Dot, ...]:
    """Write each name where it hides no dot and no other name, if there is such a side."""
    places = [(across.share(mark.x), up.share(mark.y)) for mark in marks]
    taken = [(x - GAP, y - 2 * GAP, x + GAP, y + 2 * GAP) for x, y in places]
    dots = []
    for mark, (x, y) in zip(marks, places, strict=True):
        areas = {side: _name_area(side, x, y, len(mark.name)) for side in get_args(Side)}
        free = (side for side, area in areas.items() if _is_free(area, taken))
        side: Side = next(free, "left" if x > 0.5 else "right")
        taken.append(areas[side])
        dots.append(Dot(mark.name, mark.title, mark.color, x, y, side))
    return tuple(dots)


def _name_area(side: Side, x: float, y: float, num_chars: int) -> Area:
    """Left, bottom, right and top of a name beside a dot, 0 to 1."""
    width = CHAR_WIDTH * num_chars
    if side in ("right", "left"):
        left = x + 1.1 * GAP if side == "right" else x - 1.1 * GAP - width
        return left, y - NAME_HEIGHT / 2, left + width, y + NAME_HEIGHT / 2
    bottom = y + 0.55 * NAME_HEIGHT if side == "above" else y - 1.55 * NAME_HEIGHT
    return x - width / 2, bottom, x + width / 2, bottom + NAME_HEIGHT


def _is_free(area: Area, taken: Sequence[Area]) -> bool:
    left, bottom, right, top = area
    if left < 0 or right > 1:
        return False
    return not any(left < r and right > x and bottom < t and top > b for x, b, r, t in taken)


def _round_steps(low: float, high: float, *, least: float) -> list[float]:
    """Multiples of 1, 2, 2.5 or 5 times a power of ten: about as many as there are to be ticks."""
    rough = max(least, (high - low) / NUM_TICKS)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [each * power for each in STEPS if each * power >= rough * 0.999]
    step = next(each for each in steps if not least or each % least == 0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def _round_factors(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten; powers alone, where these are too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    tens = [value for value in inside if f"{value:e}".startswith("1.0")]
    return tens if len(inside) > 2 * NUM_TICKS and len(tens) > 1 else inside


def _tick_text(value: float) -> str:
    return "0" if value == 0 else (f"{value:.3g}" if abs(value) < 1000 else text.integer(round(value)))
