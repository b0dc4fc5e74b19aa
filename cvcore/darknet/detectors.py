"""The `.cfg` texts of YOLO v1, v2 and v3 and their small siblings, at any width, canvas and class count.

`width` multiplies the channels of every layer but the heads: the same network, thinner. At 1 the layers are
those that were published with the papers, except where a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cvcore.darknet.cfg_writer import CfgWriter
from cvcore.darknet.classifiers import DARKNET19, DARKNET53

Anchors = Sequence[tuple[float, float]]
"""Widths and heights, canvas pixels."""

V1_STRIDE = 64
V2_STRIDE = 32
V3_STRIDES = (32, 16, 8)

_V1_BODY = (
    "64/7/2 M 192 M 128/1 256 256/1 512 M 256/1 512 256/1 512 256/1 512 256/1 512 512/1 1024 M "
    "512/1 1024 512/1 1024 1024 1024/3/2 1024 1024"
)
_V1_FAST_BODY = "16 M 32 M 64 M 128 M 256 M 512 M 1024 1024 1024"
_V1_TINY_BODY = "16 M 32 M 64 M 128 M 256 M 512 M 1024 256"
_V1_VGG_TRUNK = "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512"
_V1_VGG_BODY = "1024 1024/3/2 M 1024 1024"
_V1_SQUEEZENET_BODY = "M 1024/3/2 1024 1024"
_V1_ONE_CONNECTED = ("tiny", "squeezenet1_1")
# Channels squeezed to and expanded to twice, between the poolings.
_FIRES = (((16, 64),) * 2, ((32, 128),) * 2, ((48, 192), (48, 192), (64, 256), (64, 256)))
_V2_TINY_BODY = "16 M 32 M 64 M 128 M 256 M 512 m 1024 1024"
_V3_TINY_BODY = "16 M 32 M 64 M 128 M 256 M 512 m 1024"


def yolov1_cfg(*, num_classes: int, size: int = 448, width: float = 1.0, body: str = "full") -> str:
    """YOLO v1 (Redmon et al. 2015, section 2.1): 24 convolutions, two fully connected layers, B = 2.

    S is `size / 64`: 7 at 448. The paper's second but last layer is fully connected, as here; the `.cfg` that
    was published later has a `[local]` one. Batch norm is from there too; the classifiers' trunks have none.

    Args:
        num_classes: classes.
        size: side of the canvas, pixels, a multiple of 64.
        width: see the module.
        body: `full`; `fast`: the 9 convolutions of Fast YOLO; `tiny`: the 8 of the `.cfg` that came later,
            and a single connected layer; `vgg16`: VGG-16's convolutions and the full one's last four;
            `squeezenet1_1`: SqueezeNet's, of their own width, the full one's last three, and a single
            connected layer.
    """
    _check(size, V1_STRIDE, width)
    bodies = {
        "full": _V1_BODY,
        "fast": _V1_FAST_BODY,
        "tiny": _V1_TINY_BODY,
        "vgg16": _V1_VGG_BODY,
        "squeezenet1_1": _V1_SQUEEZENET_BODY,
    }
    if body not in bodies:
        raise ValueError(f"body must be one of {', '.join(bodies)}, got {body!r}")
    writer, side = CfgWriter(size=size, width=width), size // V1_STRIDE
    if body == "vgg16":
        _vgg16_trunk(writer)
    elif body == "squeezenet1_1":
        _squeezenet_trunk(writer)
    writer.body(bodies[body])
    if body not in _V1_ONE_CONNECTED:
        writer.add("connected", output=writer.channels(4096), activation="leaky")
        writer.add("dropout", probability=0.5)
    writer.add("connected", output=side * side * (2 * 5 + num_classes), activation="linear")
    writer.add("detection", classes=num_classes, coords=4, rescore=1, side=side, num=2, softmax=0, sqrt=1)
    return writer.text()


def _vgg16_trunk(writer: CfgWriter) -> None:
    for word in _V1_VGG_TRUNK.split():
        if word == "M":
            writer.add("maxpool", size=2, stride=2)
        else:
            writer.convolve_plainly(writer.channels(int(word)))


def _squeezenet_trunk(writer: CfgWriter) -> None:
    writer.convolve_plainly(64, stride=2)
    for fires in _FIRES:
        writer.add("maxpool", size=3, stride=2)
        for squeezed, expanded in fires:
            writer.fire(squeezed, expanded)


def yolov2_cfg(
    *, num_classes: int, anchors: Anchors, size: int = 416, width: float = 1.0, body: str = "full"
) -> str:
    """YOLOv2 (Redmon and Farhadi 2016, section 2): Darknet-19, and the finer map passed through.

    Args:
        num_classes: classes.
        anchors: of every cell; the paper has five.
        size: side of the canvas, pixels, a multiple of 32.
        width: see the module.
        body: `full`, or `tiny`: nine convolutions and no passthrough.
    """
    _check(size, V2_STRIDE, width)
    writer = CfgWriter(size=size, width=width)
    if body == "tiny":
        writer.body(_V2_TINY_BODY)
    elif body == "full":
        _v2_body(writer)
    else:
        raise ValueError(f"body must be full or tiny, got {body!r}")
    writer.project(len(anchors) * (5 + num_classes))
    cells = [(w / V2_STRIDE, h / V2_STRIDE) for w, h in anchors]
    writer.add(
        "region",
        anchors=_pairs(cells),
        classes=num_classes,
        coords=4,
        num=len(anchors),
        softmax=1,
        rescore=1,
    )
    return writer.text()


def _v2_body(writer: CfgWriter) -> None:
    last = len(DARKNET19) - 1
    fine = 0
    for number, stage in enumerate(DARKNET19):
        for filters, size in stage:
            index = writer.convolve(filters, size)
        if number == last - 1:
            fine = index
        if number < last:
            writer.add("maxpool", size=2, stride=2)
    writer.convolve(1024)
    coarse = writer.convolve(1024)
    writer.route(fine)
    writer.convolve(64, 1)
    passed = writer.add("reorg", stride=2)
    writer.route(passed, coarse)
    writer.convolve(1024)


def yolov3_cfg(
    *, num_classes: int, anchors: Anchors, size: int = 416, width: float = 1.0, scale_xy: float = 1.0
) -> str:
    """YOLOv3 (Redmon and Farhadi 2018, sections 2.1 to 2.4): Darknet-53 and three scales, coarse first.

    Args:
        num_classes: classes.
        anchors: as many for each scale, smallest first: the first third is for stride 8.
        size: side of the canvas, pixels, a multiple of 32.
        width: see the module.
        scale_xy: how far centres may leave their cell; 1 is the paper's.
    """
    _check(size, V3_STRIDES[0], width)
    writer = CfgWriter(size=size, width=width)
    writer.convolve(32)
    stages = []
    for filters, num_blocks in DARKNET53:
        writer.convolve(filters, stride=2)
        stages += [[writer.residual(filters) for _ in range(num_blocks)][-1]]
    heads = _Heads(writer, num_classes, anchors, num_scales=3, scale_xy=scale_xy)
    for scale, filters in enumerate((512, 256, 128)):
        for _ in range(2):
            writer.convolve(filters, 1)
            writer.convolve(2 * filters)
        narrow = writer.convolve(filters, 1)
        writer.convolve(2 * filters)
        heads.add(scale)
        if scale < 2:
            _climb(writer, narrow, filters // 2, stages[3 - scale])
    return writer.text()


def yolov3_tiny_cfg(
    *, num_classes: int, anchors: Anchors, size: int = 416, width: float = 1.0, scale_xy: float = 1.0
) -> str:
    """The authors' YOLOv3-tiny: two scales, at strides 32 and 16. Arguments as `yolov3_cfg`."""
    _check(size, V3_STRIDES[0], width)
    writer = CfgWriter(size=size, width=width)
    writer.body(_V3_TINY_BODY)
    fine = writer.num_layers - 5  # the 256 of stride 16
    narrow = writer.convolve(256, 1)
    writer.convolve(512)
    heads = _Heads(writer, num_classes, anchors, num_scales=2, scale_xy=scale_xy)
    heads.add(0)
    _climb(writer, narrow, 128, fine)
    writer.convolve(256)
    heads.add(1)
    return writer.text()


def yolov3_small_cfg(
    *, num_classes: int, anchors: Anchors, size: int = 320, width: float = 16, scale_xy: float = 2.0
) -> str:
    """The project's own small sibling of YOLOv3, quick on CPUs: few residual blocks, three scales.

    Plain 3x3 convolutions are used throughout: on a CPU core they reach several times the arithmetic rate of
    depthwise ones. Arguments as `yolov3_cfg`, but `width` counts the first convolution's channels.
    """
    _check(size, V3_STRIDES[0], width)
    if width != int(width) or int(width) % 2:
        raise ValueError(f"width must be an even number of channels, got {width}")
    writer, w = CfgWriter(size=size, width=1), int(width)
    writer.convolve(w, stride=2)
    stages = []
    for filters, num_blocks in ((2 * w, 1), (4 * w, 2), (8 * w, 2), (16 * w, 1)):
        writer.convolve(filters, stride=2)
        stages += [[writer.residual(filters) for _ in range(num_blocks)][-1]]
    heads = _Heads(writer, num_classes, anchors, num_scales=3, scale_xy=scale_xy)
    for scale, (filters, wide) in enumerate(((8 * w, 8 * w), (4 * w, 8 * w), (2 * w, 4 * w))):
        narrow = writer.convolve(filters, 1)
        writer.convolve(wide)
        heads.add(scale)
        if scale < 2:
            _climb(writer, narrow, filters // 2, stages[2 - scale])
    return writer.text()


def _climb(writer: CfgWriter, source: int, filters: int, finer: int) -> None:
    """From a scale's layer to the next finer scale: narrowed, doubled, joined with the body's map."""
    writer.route(source)
    writer.convolve(filters, 1)
    raised = writer.add("upsample", stride=2)
    writer.route(raised, finer)


class _Heads:
    """The `[yolo]` sections of a network, coarsest first."""

    def __init__(
        self, writer: CfgWriter, num_classes: int, anchors: Anchors, *, num_scales: int, scale_xy: float
    ) -> None:
        if not anchors or len(anchors) % num_scales:
            raise ValueError(f"anchors must be as many for each of {num_scales} scales, got {len(anchors)}")
        self._writer, self._num_classes, self._anchors = writer, num_classes, anchors
        self._num_scales, self._scale_xy = num_scales, scale_xy

    def add(self, scale: int) -> None:
        """The head of a scale, 0 for the coarsest, and the projection before it."""
        per_scale = len(self._anchors) // self._num_scales
        first = (self._num_scales - 1 - scale) * per_scale
        self._writer.project(per_scale * (5 + self._num_classes))
        self._writer.add(
            "yolo",
            mask=",".join(str(first + k) for k in range(per_scale)),
            anchors=_pairs(self._anchors),
            classes=self._num_classes,
            num=len(self._anchors),
            scale_x_y=f"{self._scale_xy:g}",
        )


def _pairs(anchors: Iterable[tuple[float, float]]) -> str:
    return ",  ".join(f"{w:.6g},{h:.6g}" for w, h in anchors)


def _check(size: int, stride: int, width: float) -> None:
    if size < stride or size % stride:
        raise ValueError(f"input_size must be a multiple of {stride}, got {size}")
    if width <= 0:
        raise ValueError(f"width must be above 0, got {width}")
