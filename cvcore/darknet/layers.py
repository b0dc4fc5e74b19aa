"""The layers of a Darknet network as frozen values, shapes inferred: what each is, not how it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Shape:
    """One image's activation, channels first."""

    channels: int
    height: int
    width: int

    @property
    def num_values(self) -> int:
        return self.channels * self.height * self.width

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Base of layers.

    Attributes:
        section: the `.cfg` section's name.
        index: position in the network, from 0, as `route` and `shortcut` count.
        line: the section's line in the `.cfg`, from 1.
        input, output: shapes; `input` is the output of the layer before.
        sources: absolute indices of the further layers that it reads.
    """

    section: ClassVar[str] = ""

    index: int
    line: int
    input: Shape
    output: Shape
    sources: tuple[int, ...] = ()

    @property
    def num_operations(self) -> int:
        """Operations an image, one multiply-add counted as 2; bias, batch norm and activation are free."""
        return 0

    @property
    def num_weights(self) -> int:
        """Values that a `.weights` file holds for this layer, batch norm statistics included."""
        return 0

    def __str__(self) -> str:
        return f"layer {self.index} [{self.section}] (line {self.line})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolutional(Layer):
    """A convolution, `padding` pixels on every side, with optional batch norm, then an activation."""

    section: ClassVar[str] = "convolutional"

    size: int
    stride: int
    padding: int
    groups: int
    batch_normalize: bool
    activation: str

    @property
    def num_kernel_values(self) -> int:
        return self.output.channels * (self.input.channels // self.groups) * self.size**2

    @property
    def num_operations(self) -> int:
        return 2 * self.num_kernel_values * self.output.height * self.output.width

    @property
    def num_weights(self) -> int:
        return self.num_kernel_values + self.output.channels * (4 if self.batch_normalize else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Local(Layer):
    """A convolution whose kernel and bias differ at every output location, then an activation."""

    section: ClassVar[str] = "local"

    size: int
    stride: int
    padding: int
    activation: str

    @property
    def num_kernel_values(self) -> int:
        return self.output.num_values * self.input.channels * self.size**2

    @property
    def num_operations(self) -> int:
        return 2 * self.num_kernel_values

    @property
    def num_weights(self) -> int:
        return self.num_kernel_values + self.output.num_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected(Layer):
    """A fully connected layer over the flattened (channels first) input."""

    section: ClassVar[str] = "connected"

    batch_normalize: bool
    activation: str

    @property
    def num_operations(self) -> int:
        return 2 * self.input.num_values * self.output.channels

    @property
    def num_weights(self) -> int:
        outputs = self.output.channels
        return outputs * self.input.num_values + outputs * (4 if self.batch_normalize else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Layer):
    """Max pooling. `padding` is the total along an axis: `padding // 2` before, the rest after."""

    section: ClassVar[str] = "maxpool"

    size: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool(Layer):
    """The mean of each channel."""

    section: ClassVar[str] = "avgpool"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Layer):
    """`sources` concatenated along channels; of each, the `group_id`-th of `groups` equal parts."""

    section: ClassVar[str] = "route"

    groups: int
    group_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut(Layer):
    """The input plus `sources[0]` over the channels that both have, then an activation.

    Where the spatial sizes differ by a whole factor, the larger is read or written at every factor-th
    pixel.
    """

    section: ClassVar[str] = "shortcut"

    source: Shape
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChannels(Layer):
    """`sources[0]` times the input, one factor a channel (squeeze and excitation), then an activation."""

    section: ClassVar[str] = "scale_channels"

    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample(Layer):
    """Each pixel repeated `stride` times along both axes, times `scale`."""

    section: ClassVar[str] = "upsample"

    stride: int
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorg(Layer):
    """Space to depth in Darknet's own order (see `modules.Reorg`); `reverse` undoes it."""

    section: ClassVar[str] = "reorg"

    stride: int
    reverse: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Layer):
    """Dropout while training, nothing else."""

    section: ClassVar[str] = "dropout"

    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop(Layer):
    """The centre of the input; `to_signed` maps 0..1 to -1..1."""

    section: ClassVar[str] = "crop"

    to_signed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Layer):
    """Softmax of input / temperature over each of `groups` equal runs of the flattened input."""

    section: ClassVar[str] = "softmax"

    groups: int
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Layer):
    """The loss while training; passes its input on."""

    section: ClassVar[str] = "cost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head(Layer):
    """Base of detection heads: their input is the network's raw output.

    Attributes:
        num_classes: classes it tells apart.
    """

    num_classes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection(Head):
    """YOLO v1: `side` x `side` cells, `num` boxes and one class distribution each.

    Attributes:
        sqrt: width and height are predicted as square roots.
        softmax: classes go through a softmax.
        rescore: training regresses the score to the IoU.
    """

    section: ClassVar[str] = "detection"

    side: int
    num: int
    sqrt: bool
    softmax: bool
    rescore: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Head):
    """YOLOv2.

    Attributes:
        anchors: (width, height) pairs in cells.
        softmax: classes go through a softmax, else each through a logistic.
        rescore: training regresses objectness to the IoU.
    """

    section: ClassVar[str] = "region"

    anchors: tuple[tuple[float, float], ...]
    softmax: bool
    rescore: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Yolo(Head):
    """One scale of YOLOv3.

    Attributes:
        all_anchors: (width, height) pairs of all scales, in canvas pixels.
        mask: which of them this scale uses, in channel order.
        scale_x_y: stretches the centre's offset within its cell around the cell's middle.
    """

    section: ClassVar[str] = "yolo"

    all_anchors: tuple[tuple[float, float], ...]
    mask: tuple[int, ...]
    scale_x_y: float

    @property
    def anchors(self) -> tuple[tuple[float, float], ...]:
        """This scale's anchors, canvas pixels."""
        return tuple(self.all_anchors[i] for i in self.mask)
