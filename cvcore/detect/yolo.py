"""YOLO v1, v2 and v3, their small siblings, and any `.cfg`, as models of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

from cvcore.backbones.build import BackboneName
from cvcore.darknet.detector import DarknetDetector
from cvcore.darknet.detectors import (
    yolov1_cfg,
    yolov2_cfg,
    yolov3_cfg,
    yolov3_small_cfg,
    yolov3_tiny_cfg,
)
from cvcore.darknet.losses import LossKind
from cvcore.darknet.retarget import retarget_cfg
from cvcore.darknet.tied import tie_cells
from cvcore.detect.labels import VOC_LABELS
from cvcore.scenes.parts import PART_NAMES

Version = Literal[
    "v1",
    "v1-fast",
    "v1-tiny",
    "v1-vgg16",
    "v1-squeezenet1_1",
    "v2",
    "v2-tiny",
    "v3",
    "v3-tiny",
    "v3-small",
]
AnchorPairs = Sequence[Sequence[float]]

# Widths and heights in pixels of a canvas of 416: the papers' clusters of VOC and COCO.
_V2_ANCHORS = ((42.3, 55.4), (102.2, 128.1), (161.8, 259.2), (303.1, 154.9), (359.6, 320.2))
_V3_ANCHORS = (
    *((10, 13), (16, 30), (33, 23)),
    *((30, 61), (62, 45), (59, 119)),
    *((116, 90), (156, 198), (373, 326)),
)
_V3_TINY_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))
_ANCHORS = MappingProxyType(
    {"v2": _V2_ANCHORS, "v2-tiny": _V2_ANCHORS, "v3": _V3_ANCHORS, "v3-tiny": _V3_TINY_ANCHORS}
)
# Of the sample scenes at 320.
_PARTS_ANCHORS = (
    *((17.0, 17.0), (23.0, 23.0), (29.0, 28.0)),
    *((23.0, 43.0), (44.0, 23.0), (35.0, 34.0)),
    *((44.0, 44.0), (57.0, 55.0), (78.0, 77.0)),
)
_TRUNKS: Mapping[str, BackboneName] = MappingProxyType(
    {"v1-vgg16": "vgg16", "v1-squeezenet1_1": "squeezenet1_1"}
)
_TIED = ("v1-tiny", "v1-squeezenet1_1")
_V1_SIZE, _SMALL_SIZE, _SIZE = 448, 320, 416
_SMALL_WIDTH = 16
# Layers of the classifiers that the papers trained first, where they are not all up to the last pooling.
_CLASSIFIER_LAYERS = MappingProxyType({"v1": 24, "v1-vgg16": 17, "v1-squeezenet1_1": 44, "v2": 23})


def build_yolo(
    labels: tuple[str, ...] | None = None,
    *,
    version: Version,
    input_size: int | None = None,
    width: float | None = None,
    anchors: AnchorPairs | None = None,
    loss: LossKind | None = None,
    tied: bool = False,
) -> DarknetDetector:
    """Build an untrained YOLO.

    Args:
        labels: class names; VOC's twenty by default, of `v3-small` the sample scenes' parts.
        version: of the paper, and which of its networks.
        input_size: side of the square canvas, pixels: a multiple of 32, of 64 for v1.
        width: multiplies all channels, but not those of SqueezeNet's trunk; of `v3-small` it counts the first
            convolution's.
        anchors: (width, height) pairs in canvas pixels, smallest first; the published ones, scaled to the
            canvas, by default.
        loss: `paper`, or for v3's heads `dense` (see `cvcore.detect.yolo_loss`); `v3-small` starts with that.
        tied: let v1's cells learn alike (see `cvcore.darknet.tied`), of a version with one connected layer.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    if version not in get_args(Version):
        raise ValueError(f"version must be one of {', '.join(get_args(Version))}, got {version!r}")
    small = version == "v3-small"
    names = labels or (PART_NAMES if small else VOC_LABELS)
    size = input_size or (_V1_SIZE if version.startswith("v1") else _SMALL_SIZE if small else _SIZE)
    shape: dict[str, Any] = {"num_classes": len(names), "size": size}
    shape["width"] = width if width is not None else (_SMALL_WIDTH if small else 1.0)
    chosen = _chosen_anchors(version, anchors, size)
    kind: LossKind = loss or ("dense" if small else "paper")
    _check_loss(kind)
    if kind == "dense" and not version.startswith("v3"):
        raise ValueError(f"{version} has the loss of its paper only, got loss {loss!r}")
    model = DarknetDetector.from_cfg(_cfg(version, shape, chosen, kind), labels=names)
    model.loss_kind, model.trunk = kind, _TRUNKS.get(version)
    if tied:
        if version not in _TIED:
            raise ValueError(
                f"{version} has several connected layers or none, and only one can be tied: leave tied out"
            )
        tie_cells(model.network)
    model.num_backbone_layers = _CLASSIFIER_LAYERS.get(version, model.num_backbone_layers)
    model.config = {
        "version": version,
        "input_size": size,
        "width": shape["width"],
        "loss": kind,
        **({"anchors": [list(pair) for pair in chosen]} if chosen else {}),
        **({"tied": True} if tied else {}),
    }
    return model


def build_tiny(
    labels: tuple[str, ...] | None = None, *, version: Version = "v3-small", **config: Any
) -> DarknetDetector:
    """The catalogue's `tiny`: `build_yolo` of the small sibling."""
    return build_yolo(labels, version=version, **config)


def build_darknet(
    labels: tuple[str, ...] | None = None,
    *,
    cfg: str,
    input_size: int | None = None,
    anchors: AnchorPairs | None = None,
    loss: LossKind = "paper",
) -> DarknetDetector:
    """Build a detector from the text of a `.cfg`, for other classes than its own if `labels` says so.

    Args:
        labels: class names; as many as the text has by default.
        cfg: the text.
        input_size: side of a square canvas in place of the text's, pixels.
        anchors: of `[yolo]` heads, in place of the text's.
        loss: see `build_yolo`.

    Raises:
        CfgError, ModelError: for a text that is none, or of no detector.
    """
    pairs = None if anchors is None else [(float(w), float(h)) for w, h in anchors]
    text = cfg if labels is None else retarget_cfg(cfg, num_classes=len(labels), anchors=pairs)
    model = DarknetDetector.from_cfg(text, labels=labels, height=input_size, width=input_size)
    _check_loss(loss)
    model.loss_kind = loss
    model.config = {"cfg": text, "loss": loss, **({"input_size": input_size} if input_size else {})}
    return model


def _chosen_anchors(
    version: Version, anchors: AnchorPairs | None, size: int
) -> tuple[tuple[float, float], ...]:
    if version.startswith("v1"):
        if anchors is not None:
            raise ValueError("YOLO v1 has no anchors: leave them out")
        return ()
    if anchors is not None:
        return tuple((float(w), float(h)) for w, h in anchors)
    if version == "v3-small":
        return tuple((w * size / 320, h * size / 320) for w, h in _PARTS_ANCHORS)
    return tuple((w * size / 416, h * size / 416) for w, h in _ANCHORS[version])


def _cfg(
    version: Version, shape: dict[str, Any], anchors: tuple[tuple[float, float], ...], kind: LossKind
) -> str:
    match version:
        case "v1":
            return yolov1_cfg(**shape)
        case "v1-fast" | "v1-tiny" | "v1-vgg16" | "v1-squeezenet1_1":
            return yolov1_cfg(**shape, body=version.removeprefix("v1-"))
        case "v2":
            return yolov2_cfg(**shape, anchors=anchors)
        case "v2-tiny":
            return yolov2_cfg(**shape, anchors=anchors, body="tiny")
        case _:
            builders = {"v3": yolov3_cfg, "v3-tiny": yolov3_tiny_cfg, "v3-small": yolov3_small_cfg}
            # The dense loss needs centres that reach half a cell beyond their own.
            return builders[version](**shape, anchors=anchors, scale_xy=2.0 if kind == "dense" else 1.0)


def _check_loss(loss: str) -> None:
    if loss not in get_args(LossKind):
        raise ValueError(f"loss must be one of {', '.join(get_args(LossKind))}, got {loss!r}")
