"""A detector's `.cfg` for other classes: what fine-tuning on another dataset starts from."""

from __future__ import annotations

from collections.abc import Sequence

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.layers import Connected, Convolutional, Detection, Head, Layer
from cvcore.errors import ModelError

Anchors = Sequence[tuple[float, float]]


def retarget_cfg(text: str, *, num_classes: int, anchors: Anchors | None = None) -> str:
    """Change the classes of every head, and the outputs of the layers before them.

    Args:
        text: of a detector.
        num_classes: that its heads are to tell apart.
        anchors: in place of its own, canvas pixels, as many; of the `[yolo]` heads alone.

    Raises:
        CfgError: where `text` is no `.cfg`.
        ModelError: where it detects nothing, a head reads another layer than a convolution or a connected
            one, or there are not as many anchors as it has.
    """
    cfg = parse_cfg(text)
    if not cfg.heads:
        raise ModelError("the cfg has no detection head, so it has no classes to change")
    lines = text.splitlines()
    for head in cfg.heads:
        before = cfg.layers[head.index - 1]
        _set(lines, head, "classes", str(num_classes))
        if isinstance(before, Convolutional) and not isinstance(head, Detection):
            per_box = before.output.channels // (5 + head.num_classes)
            _set(lines, before, "filters", str(per_box * (5 + num_classes)))
        elif isinstance(before, Connected) and isinstance(head, Detection):
            _set(lines, before, "output", str(head.side**2 * (head.num * 5 + num_classes)))
        else:
            raise ModelError(f"{head} reads {before}, whose outputs cannot be changed with the classes")
        if anchors is not None:
            _set_anchors(lines, head, anchors)
    return "\n".join(lines) + "\n"


def _set_anchors(lines: list[str], head: Head, anchors: Anchors) -> None:
    own = getattr(head, "all_anchors", None)
    if own is None:
        raise ModelError(f"{head} has no anchors in pixels: leave its own")
    if len(own) != len(anchors):
        raise ModelError(f"{head} has {len(own)} anchors, {len(anchors)} were given")
    _set(lines, head, "anchors", ",  ".join(f"{w:.6g},{h:.6g}" for w, h in anchors))


def _set(lines: list[str], layer: Layer, key: str, value: str) -> None:
    """Replace a key of a layer's section; its last line counts, as for Darknet."""
    number = layer.line  # the line after the header, from 0
    found = None
    while number < len(lines) and not lines[number].lstrip().startswith("["):
        if lines[number].partition("=")[0].strip() == key:
            found = number
        number += 1
    if found is None:
        raise ModelError(f"{layer} has no line {key}=")
    lines[found] = f"{key}={value}"
