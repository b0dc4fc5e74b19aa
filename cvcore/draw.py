"""Boxes, trails and notes drawn into pictures."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GOLDEN = 0.618033988749895  # neighbouring numbers get hues that are far apart
_UNTRACKED: Color = (190, 190, 190)
_ALARM: Color = (200, 30, 30)
_SHADE = (0, 0, 0, 120)
_FAR = 8
"""Pieces of trails may lead so many sides of the picture away from it."""


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """One box: `box` is xyxy, pixels; `faint` draws a dashed outline, for what was not seen itself."""

    box: tuple[float, float, float, float]
    text: str
    color: Color
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Trail:
    """Where something was: (x, y) pixels and a strength of 1 (now) to 0 (about to vanish), oldest first."""

    points: Sequence[tuple[float, float, float]]
    color: Color


def track_color(number: int | None) -> Color:
    """A bright colour for a track or a class, the same always; gray for None."""
    if number is None:
        return _UNTRACKED
    hue = (number * _GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75 if number % 2 else 0.55, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_scene(
    picture: Picture,
    boxes: Sequence[DrawnBox],
    trails: Sequence[Trail] = (),
    *,
    note: str = "",
    alarm: bool = False,
    line_px: int | None = None,
) -> Picture:
    """A copy of a picture, (H, W, 3) uint8 RGB, with trails, boxes with their texts, and a note.

    Of boxes that overlap, the first lies on top. The note is at the lower left, where it hides the fewest
    tags: they are above their boxes. With `alarm`, it is red and so is a frame around the picture.
    Lines are as wide as suits the picture, or `line_px`.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image, "RGBA")  # colours with a fourth value are mixed with what is there
    shorter = min(image.size)
    line = line_px or max(1, round(shorter / 220))
    font = ImageFont.load_default(max(9.0, shorter / 32))
    for trail in trails:
        _draw_trail(draw, trail, line, image.size)
    for each in reversed(boxes):
        _draw_box(draw, each, line, image.size)
    for each in reversed(boxes):
        if each.text:
            _draw_tag(draw, each, font, image.size)
    if alarm:
        draw.rectangle((0, 0, image.width - 1, image.height - 1), outline=_ALARM, width=2 * line)
    if note:
        top = image.height - 2 * line - _tag_size(draw, note, font)[1]
        _draw_text(draw, (line * 2, top), note, font, _ALARM if alarm else (0, 0, 0), (255, 255, 255))
    return np.asarray(image)


def _draw_trail(draw: ImageDraw.ImageDraw, trail: Trail, line: int, size: tuple[int, int]) -> None:
    """Newer pieces are wider and stronger; one that leads far out of the picture is left out."""
    far = _FAR * max(size)
    for (x0, y0, _), (x1, y1, strength) in pairwise(trail.points):
        if max(abs(x0), abs(y0), abs(x1), abs(y1)) > far:
            continue
        width = max(1, round(2 * line * strength))
        alpha = round(255 * min(1.0, max(0.0, strength)))
        draw.line([(x0, y0), (x1, y1)], fill=(*trail.color, alpha), width=width)


def _draw_box(draw: ImageDraw.ImageDraw, each: DrawnBox, line: int, size: tuple[int, int]) -> None:
    """The outline, with a dark edge that keeps it apart from bright and busy backgrounds."""
    # Pillow draws outlines pixel by pixel, also those beyond the picture: a huge box would take minutes.
    x0, x1 = (min(max(x, -2.0 * line), size[0] + 2.0 * line) for x in sorted(each.box[0::2]))
    y0, y1 = (min(max(y, -2.0 * line), size[1] + 2.0 * line) for y in sorted(each.box[1::2]))
    if not each.faint:
        draw.rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), outline=_SHADE, width=line + 2)
        draw.rectangle((x0, y0, x1, y1), outline=each.color, width=line)
        return
    across, down = _dashes(x0, x1, line), _dashes(y0, y1, line)
    inner = line - 1
    dashes = [(a, y, b, y + inner) for a, b in across for y in (y0, y1 - inner)]
    dashes += [(x, a, x + inner, b) for a, b in down for x in (x0, x1 - inner)]
    for left, top, right, bottom in dashes:
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=_SHADE)
    for dash in dashes:
        draw.rectangle(dash, fill=each.color)


def _dashes(start: float, end: float, line: int) -> list[tuple[float, float]]:
    """First and last pixel of the dashes along a side, about four lines long and as far apart.

    There is one at each end, so that corners are seen.
    """
    number = max(1, round((end - start) / (8 * line)))
    step = (end - start) / (2 * number + 1)
    return [(start + 2 * k * step, start + (2 * k + 1) * step) for k in range(number + 1)]


def _draw_tag(draw: ImageDraw.ImageDraw, each: DrawnBox, font: Font, size: tuple[int, int]) -> None:
    """The text above the box, or inside of it at the picture's top, never beyond the picture's edges."""
    width, height = _tag_size(draw, each.text, font)
    x = min(max(0.0, each.box[0]), max(0.0, size[0] - width))
    y = each.box[1] - height if each.box[1] >= height else each.box[1]
    y = min(max(0.0, y), max(0.0, size[1] - height))
    dark = 0.299 * each.color[0] + 0.587 * each.color[1] + 0.114 * each.color[2] > 140
    _draw_text(draw, (x, y), each.text, font, each.color, (0, 0, 0) if dark else (255, 255, 255))


def _tag_size(draw: ImageDraw.ImageDraw, text: str, font: Font) -> tuple[float, float]:
    """Width and height, pixels, of a text with its margins."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    return right - left + 4, bottom - top + 4


def _draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    font: Font,
    background: Color,
    color: Color,
) -> None:
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    x, y = at
    draw.rectangle((x, y, x + right - left + 3, y + bottom - top + 3), fill=background)
    draw.text((x + 2 - left, y + 2 - top), text, font=font, fill=color)
