"""The detection heads among the `.cfg` sections: `[detection]` (v1), `[region]` (v2), `[yolo]` (v3)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cvcore.darknet.kinds import Context, Kind, keys
from cvcore.darknet.layers import Detection, Layer, Region, Yolo
from cvcore.errors import CfgError

Pairs = tuple[tuple[float, float], ...]


def _detection(at: Context) -> Layer:
    section = at.section
    side, num = section.integer("side", 7, minimum=1), section.integer("num", minimum=1)
    classes = section.integer("classes", minimum=1)
    section.integer("coords", 4, minimum=4, maximum=4)
    expected = side * side * (num * 5 + classes)
    if at.input.num_values != expected:
        raise section.error(
            f"side={side}, num={num} and classes={classes} need side^2 * (num * 5 + classes) = {expected} "
            f"values, the layer before gives {at.input.num_values}"
        )
    return Detection(
        **at.common,
        output=at.input,
        num_classes=classes,
        side=side,
        num=num,
        sqrt=section.flag("sqrt"),
        softmax=section.flag("softmax"),
        rescore=section.flag("rescore"),
    )


def _region(at: Context) -> Layer:
    section = at.section
    classes, num = section.integer("classes", minimum=1), section.integer("num", minimum=1)
    section.integer("coords", 4, minimum=4, maximum=4)
    anchors = _anchors(at, num)
    _check_channels(at, num, classes)
    return Region(
        **at.common,
        output=at.input,
        num_classes=classes,
        anchors=anchors,
        softmax=section.flag("softmax"),
        rescore=section.flag("rescore"),
    )


def _yolo(at: Context) -> Layer:
    section = at.section
    classes, num = section.integer("classes", minimum=1), section.integer("num", minimum=1)
    anchors = _anchors(at, num)
    mask = section.integers("mask") if section.text("mask", "all") != "all" else tuple(range(num))
    for index in mask:
        if not 0 <= index < num:
            line = section.line_of("mask")
            raise section.error(f"mask names anchor {index}; allowed: 0 to {num - 1} (num={num})", line=line)
    _check_channels(at, len(mask), classes)
    scale_x_y = section.number("scale_x_y", 1.0, minimum=1.0)
    return Yolo(
        **at.common, output=at.input, num_classes=classes, all_anchors=anchors, mask=mask, scale_x_y=scale_x_y
    )


def _anchors(at: Context, num: int) -> Pairs:
    values, line = at.section.numbers("anchors"), at.section.line_of("anchors")
    if len(values) != 2 * num:
        message = f"num={num} needs {2 * num} anchor values (width, height), got {len(values)}"
        raise at.section.error(message, line=line)
    if min(values) <= 0:
        raise at.section.error(f"anchors must be above 0, got {min(values):g}", line=line)
    return tuple(zip(values[::2], values[1::2], strict=True))


def _check_channels(at: Context, boxes: int, classes: int) -> None:
    expected = boxes * (classes + 5)
    if at.input.channels != expected:
        raise _wrong_channels(at, f"{boxes} * ({classes} classes + 4 coordinates + 1) = {expected}")


def _wrong_channels(at: Context, expected: str) -> CfgError:
    source = f"; set filters on {at.before[-1]}" if at.before else ""
    return at.section.error(f"needs {expected} channels, got {at.input.channels}{source}")


_LOSS = keys(
    "jitter resize rescore thresh random absolute bias_match object_scale noobject_scale class_scale "
    "coord_scale mask_scale max max_boxes classfix focal_loss forced log reorg ignore_thresh truth_thresh "
    "iou_thresh iou_thresh_kind iou_loss iou_normalizer obj_normalizer cls_normalizer delta_normalizer "
    "uc_normalizer label_smooth_eps objectness_smooth max_delta nms_kind beta_nms counters_per_class "
    "show_details track_history_size sim_thresh dets_for_track dets_for_show track_ciou_norm map "
    "stopbackward learning_rate"
)

HEAD_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "detection": Kind(
            _detection, keys("side num classes coords sqrt softmax rescore"), _LOSS - keys("rescore")
        ),
        "region": Kind(
            _region,
            keys("classes num coords anchors softmax rescore"),
            _LOSS - keys("rescore"),
            {"tree": "", "background": "0"},
        ),
        "yolo": Kind(
            _yolo,
            keys("classes num anchors mask scale_x_y"),
            _LOSS,
            {"new_coords": "0", "embedding_layer": ""},
        ),
    }
)
"""The kinds of heads by section name."""
