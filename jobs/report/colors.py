"""Colours of labels: the same label of a model always has the same one."""

from __future__ import annotations

# Okabe and Ito, "Color Universal Design" (2008), without black: told apart with every common colour vision.
# Ordered so that neighbouring ids, which often stand in one picture, differ most.
BASE = ("#56b4e9", "#e69f00", "#009e73", "#d55e00", "#f0e442", "#0072b2", "#cc79a7")
# Past seven labels the hues repeat, mixed towards white and then black. Labels are always written out, too.
MIXES = ((255, 0.0), (255, 0.45), (0, 0.3))


def label_color(label_id: int) -> str:
    """The `#rrggbb` of a label; 21 differ before they repeat."""
    turn, hue = divmod(abs(label_id), len(BASE))
    target, share = MIXES[turn % len(MIXES)]
    channels = (round(c + (target - c) * share) for c in parse_color(BASE[hue]))
    return "#" + "".join(f"{c:02x}" for c in channels)


def ink_color(background: str) -> str:
    """Black or white, whichever reads better on `background` (WCAG 2.2 relative luminance)."""
    red, green, blue = (_linear(c / 255) for c in parse_color(background))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


def parse_color(color: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of `#rrggbb`."""
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
