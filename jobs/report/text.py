"""Numbers, times and ranges as a reader expects them."""

from __future__ import annotations

import math
from datetime import datetime


def integer(value: int) -> str:
    """`1234567` as `1,234,567`."""
    return f"{value:,}"


def plural(value: int, noun: str) -> str:
    """`1 frame`, `1,200 frames`."""
    return f"{integer(value)} {noun}{'s' * (value != 1)}"


def clock(seconds: float) -> str:
    """A moment of a video: `12.3 s`; from ten minutes on `10:05` and `1:10:05`."""
    if abs(seconds) < 600:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(abs(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if seconds < 0 else ""
    return sign + (f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}")


def decimal(value: float) -> str:
    """Three significant digits, and all those before the point."""
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def share(value: float) -> str:
    """Three decimals, and a dash for what is not known."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def percent(part: int, whole: int) -> str:
    """A share, never rounded to 0 % or 100 % when it is neither."""
    if not whole:
        return "0%"
    share = 100 * part / whole
    if part and share < 0.1:
        return "<0.1%"
    if part < whole and share > 99.9:
        return ">99.9%"
    return f"{share:.1f}%" if share < 10 or share > 99 else f"{share:.0f}%"


def duration(seconds: float) -> str:
    """`95` as `1 min 35 s`, with the two largest units."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    total = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    words: list[tuple[int, str]] = []
    for name, size in units:
        amount, total = divmod(total, size)
        if amount or words:
            words.append((amount, name))
    return " ".join(f"{amount} {name}" for amount, name in words[:2] if amount)


def moment(time: datetime) -> str:
    """To the minute, UTC."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def span(start: datetime, end: datetime) -> str:
    """`2026-05-04 10:00 – 10:20 UTC`; the second date only where it differs."""
    if f"{start:%Y-%m-%d %H:%M}" == f"{end:%Y-%m-%d %H:%M}":
        return moment(start)
    if start.date() == end.date():
        return f"{start:%Y-%m-%d %H:%M} – {end:%H:%M} UTC"
    return f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M} UTC"


def whole_bin(edges: tuple[float, ...], index: int) -> str:
    """Name of a bin of whole numbers: `3`, `10–19`, `100+`."""
    low = int(edges[index])
    if index + 1 == len(edges):
        return f"{low}+"
    high = int(edges[index + 1]) - 1
    return str(low) if high == low else f"{low}–{high}"


def range_bin(edges: tuple[float, ...], index: int) -> str:
    """Name of a bin of lengths: `<8`, `8–16`, `≥4096`."""
    if index == 0:
        return f"<{edges[1]:g}"
    if index + 1 == len(edges):
        return f"≥{edges[index]:g}"
    return f"{edges[index]:g}–{edges[index + 1]:g}"


def score_bin(edges: tuple[float, ...], index: int) -> str:
    """Name of a bin of scores: `0.50–0.55`."""
    high = edges[index + 1] if index + 1 < len(edges) else 1.0
    return f"{edges[index]:.2f}–{high:.2f}"


def short_bin(edges: tuple[float, ...], index: int) -> str:
    """Name of a bin of whole numbers in little space: `3`, `10–`; the last one is `100+`."""
    name = whole_bin(edges, index)
    return name if name.isdigit() or name.endswith("+") else f"{int(edges[index])}–"


def short_length(edge: float) -> str:
    """`512`, and `2k` for 2048."""
    return f"{edge / 1024:g}k" if edge >= 1024 else f"{edge:g}"
