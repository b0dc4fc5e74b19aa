"""Which maps an SSD has and which default boxes lie on them, as plain values (Liu et al. 2016).

The paper gives 300 and 512 pixels; other sizes follow the same rules, of which those are two cases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cvcore.ops.default_boxes import DefaultLevel

FIRST_STRIDE, SECOND_STRIDE = 8, 16
FEW_RATIOS, ALL_RATIOS = (2.0,), (2.0, 3.0)


@dataclass(frozen=True, slots=True)
class ExtraMap:
    """A 1x1 convolution, then one that shrinks the map.

    Attributes:
        narrow, wide: output channels of the two.
        kernel, stride, padding: of the second.
        side: rows and columns after it.
        step_px: see `DefaultLevel`.
    """

    narrow: int
    wide: int
    kernel: int
    stride: int
    padding: int
    side: int
    step_px: float


def plan_extras(side: int, *, canvas_px: int, width: float) -> tuple[ExtraMap, ...]:
    """The extra maps after one of `side` cells and stride 16, down to a single cell (figure 2).

    While a map has more than 5 cells a side, or an even number, the next has half as many; those of 5 and 3
    lose their border (19, 10, 5, 3, 1), and 2 cells become one by a 4x4 convolution, as in the authors'
    SSD512 (32, 16, 8, 4, 2, 1). `width` scales the channels.
    """
    extras: list[ExtraMap] = []
    step = float(SECOND_STRIDE)
    while side > 1:
        narrow, wide = (256, 512) if not extras else (128, 256)
        if side == 2:
            kernel, stride, padding, side = 4, 1, 1, 1
        elif side in (3, 5):
            kernel, stride, padding, side = 3, 1, 0, side - 2
        else:
            kernel, stride, padding, side = 3, 2, 1, (side + 1) // 2
        step = step * 2 if stride == 2 else canvas_px / side
        channels = [max(8, round(width * c)) for c in (narrow, wide)]
        extras.append(ExtraMap(channels[0], channels[1], kernel, stride, padding, side, step))
    return tuple(extras)


def paper_scales(num_maps: int, *, canvas_px: int) -> tuple[float, ...]:
    """Scale of each map's boxes, and of the one after the last, as shares of the canvas's side.

    Equation 4 from 0.2 to 0.9 with 0.1 on the first map; from 0.15 with 0.07 on the first for 512 px and more
    (section 3.1). Steps are whole percents, as in the authors' code (`ssd_pascal.py`), which gives 0.88 for
    SSD300's last map.
    """
    first, lowest = (7, 15) if canvas_px >= 512 else (10, 20)
    step = math.floor((90 - lowest) / max(1, num_maps - 2))
    return tuple(percent / 100 for percent in (first, *(lowest + step * k for k in range(num_maps))))


def plan_levels(
    sides: Sequence[int], steps_px: Sequence[float], scales: Sequence[float]
) -> tuple[DefaultLevel, ...]:
    """The default boxes of each map: 4 a cell on the first and the last two, 6 on the others (section 3.1).

    `scales` has one more than there are maps.
    """
    few = {0, len(sides) - 2, len(sides) - 1}
    return tuple(
        DefaultLevel(side, step, scales[k], scales[k + 1], FEW_RATIOS if k in few else ALL_RATIOS)
        for k, (side, step) in enumerate(zip(sides, steps_px, strict=True))
    )
