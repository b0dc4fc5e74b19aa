"""Each kind of `.cfg` section: the keys it knows, and how it becomes a typed layer with its shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypedDict

from cvcore.darknet.activations import ACTIVATIONS
from cvcore.darknet.layers import (
    AvgPool,
    Connected,
    Convolutional,
    Cost,
    Crop,
    Dropout,
    Layer,
    Local,
    MaxPool,
    Reorg,
    Route,
    ScaleChannels,
    Shape,
    Shortcut,
    Softmax,
    Upsample,
)
from cvcore.darknet.sections import Section


class Common(TypedDict):
    """What every layer is built with."""

    index: int
    line: int
    input: Shape


@dataclass(frozen=True, slots=True)
class Context:
    """What a section may look at: itself, the canvas, and the layers before it."""

    section: Section
    net: Shape
    before: tuple[Layer, ...]

    @property
    def input(self) -> Shape:
        """The shape that the layer before puts out."""
        return self.before[-1].output if self.before else self.net

    @property
    def common(self) -> Common:
        return {"index": self.section.layer_index, "line": self.section.line, "input": self.input}

    def source(self, key: str, offset: int) -> Layer:
        """The earlier layer at `offset`: relative if negative, else absolute; raises `CfgError`."""
        index = offset + self.section.layer_index if offset < 0 else offset
        if not 0 <= index < self.section.layer_index:
            raise self.section.error(
                f"{key}={offset} is layer {index}, which does not come before this one; "
                f"allowed: {-self.section.layer_index} to -1, or 0 to {self.section.layer_index - 1}",
                line=self.section.line_of(key),
            )
        return self.before[index]

    def activation(self, default: str) -> str:
        return self.section.choice("activation", default, ACTIVATIONS.keys())

    def windowed(self, size: int, stride: int, padding: int) -> tuple[int, int]:
        """Height and width after a sliding window; `padding` is the total along an axis."""
        height, width = ((n + padding - size) // stride + 1 for n in (self.input.height, self.input.width))
        if height < 1 or width < 1:
            raise self.section.error(f"a {size}x{size} window does not fit its {self.input} input")
        return height, width


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of section.

    Attributes:
        parse: makes the layer.
        used: keys that it reads.
        ignored: keys that matter to training or display only.
        refused: keys of Darknet that are not supported, with the value that switches each off.
    """

    parse: Callable[[Context], Layer]
    used: frozenset[str]
    ignored: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def keys(names: str) -> frozenset[str]:
    """A set of keys from a string of words."""
    return frozenset(names.split())


def _convolutional(at: Context) -> Layer:
    section = at.section
    filters = section.integer("filters", minimum=1)
    size = section.integer("size", 1, minimum=1)
    stride = section.integer("stride", 1, minimum=1)
    groups = section.integer("groups", 1, minimum=1)
    padding = section.integer("padding", 0, minimum=0)
    if section.flag("pad"):
        padding = size // 2
    for name, channels in (("input channels", at.input.channels), ("filters", filters)):
        if channels % groups:
            line = section.line_of("groups")
            raise section.error(f"groups={groups} does not divide the {channels} {name}", line=line)
    height, width = at.windowed(size, stride, 2 * padding)
    return Convolutional(
        **at.common,
        output=Shape(filters, height, width),
        size=size,
        stride=stride,
        padding=padding,
        groups=groups,
        batch_normalize=section.flag("batch_normalize"),
        activation=at.activation("logistic"),
    )


def _local(at: Context) -> Layer:
    filters = at.section.integer("filters", minimum=1)
    size = at.section.integer("size", 1, minimum=1)
    stride = at.section.integer("stride", 1, minimum=1)
    padding = size // 2 if at.section.flag("pad") else 0
    height, width = at.windowed(size, stride, 2 * padding)
    return Local(
        **at.common,
        output=Shape(filters, height, width),
        size=size,
        stride=stride,
        padding=padding,
        activation=at.activation("logistic"),
    )


def _connected(at: Context) -> Layer:
    return Connected(
        **at.common,
        output=Shape(at.section.integer("output", minimum=1), 1, 1),
        batch_normalize=at.section.flag("batch_normalize"),
        activation=at.activation("logistic"),
    )


def _maxpool(at: Context) -> Layer:
    stride = at.section.integer("stride", 1, minimum=1)
    size = at.section.integer("size", stride, minimum=1)
    # Beyond this a window could lie in the padding altogether.
    padding = at.section.integer("padding", size - 1, minimum=0, maximum=2 * (size - 1))
    height, width = at.windowed(size, stride, padding)
    output = Shape(at.input.channels, height, width)
    return MaxPool(**at.common, output=output, size=size, stride=stride, padding=padding)


def _avgpool(at: Context) -> Layer:
    return AvgPool(**at.common, output=Shape(at.input.channels, 1, 1))


def _route(at: Context) -> Layer:
    section = at.section
    groups = section.integer("groups", 1, minimum=1)
    group_id = section.integer("group_id", 0, minimum=0, maximum=groups - 1)
    sources = [at.source("layers", offset) for offset in section.integers("layers")]
    first, line = sources[0].output, section.line_of("layers")
    for source in sources:
        shape = source.output
        if (shape.height, shape.width) != (first.height, first.width):
            raise section.error(
                f"cannot join {first} of {sources[0]} and {shape} of {source}: "
                "height and width must be the same",
                line=line,
            )
        if shape.channels % groups:
            line = section.line_of("groups")
            raise section.error(
                f"groups={groups} does not divide the {shape.channels} channels of {source}", line=line
            )
    channels = sum(source.output.channels for source in sources) // groups
    return Route(
        **at.common,
        sources=tuple(source.index for source in sources),
        output=Shape(channels, first.height, first.width),
        groups=groups,
        group_id=group_id,
    )


def _shortcut(at: Context) -> Layer:
    offsets = at.section.integers("from")
    if len(offsets) != 1:
        line = at.section.line_of("from")
        raise at.section.error(
            f"from takes one layer, got {len(offsets)}; chain shortcuts instead", line=line
        )
    source = at.source("from", offsets[0])
    if not _whole_factor(source.output, at.input):
        raise at.section.error(
            f"cannot add {source.output} of {source} to {at.input}: height and width must be the same, or "
            "one size a whole multiple of the other by the same factor in both",
            line=at.section.line_of("from"),
        )
    return Shortcut(
        **at.common,
        sources=(source.index,),
        output=at.input,
        source=source.output,
        activation=at.activation("linear"),
    )


def _whole_factor(a: Shape, b: Shape) -> bool:
    small, large = sorted((a, b), key=lambda shape: (shape.height, shape.width))
    factor = large.height // small.height
    return (large.height, large.width) == (small.height * factor, small.width * factor)


def _scale_channels(at: Context) -> Layer:
    source = at.source("from", at.section.integer("from"))
    expected = Shape(source.output.channels, 1, 1)
    if at.input != expected:
        raise at.section.error(f"needs one factor a channel of {source}: {expected}, got {at.input}")
    return ScaleChannels(
        **at.common, sources=(source.index,), output=source.output, activation=at.activation("linear")
    )


def _upsample(at: Context) -> Layer:
    stride = at.section.integer("stride", 2, minimum=1)
    shape = at.input
    return Upsample(
        **at.common,
        output=Shape(shape.channels, shape.height * stride, shape.width * stride),
        stride=stride,
        scale=at.section.number("scale", 1.0),
    )


def _reorg(at: Context) -> Layer:
    stride = at.section.integer("stride", 1, minimum=1)
    reverse = at.section.flag("reverse")
    shape = at.input
    # Darknet walks its index pattern over channels / stride^2 in both directions.
    if shape.channels % stride**2:
        raise at.section.error(f"stride^2 = {stride**2} does not divide the {shape.channels} input channels")
    if reverse:
        output = Shape(shape.channels // stride**2, shape.height * stride, shape.width * stride)
    elif shape.height % stride or shape.width % stride:
        raise at.section.error(f"stride={stride} does not divide the {shape} input")
    else:
        output = Shape(shape.channels * stride**2, shape.height // stride, shape.width // stride)
    return Reorg(**at.common, output=output, stride=stride, reverse=reverse)


def _dropout(at: Context) -> Layer:
    probability = at.section.number("probability", 0.5, minimum=0.0)
    if probability >= 1:
        line = at.section.line_of("probability")
        raise at.section.error(f"probability must be below 1, got {probability:g}", line=line)
    return Dropout(**at.common, output=at.input, probability=probability)


def _crop(at: Context) -> Layer:
    height = at.section.integer("crop_height", minimum=1, maximum=at.input.height)
    width = at.section.integer("crop_width", minimum=1, maximum=at.input.width)
    output = Shape(at.input.channels, height, width)
    return Crop(**at.common, output=output, to_signed=not at.section.flag("noadjust"))


def _softmax(at: Context) -> Layer:
    groups = at.section.integer("groups", 1, minimum=1)
    if at.input.num_values % groups:
        line = at.section.line_of("groups")
        raise at.section.error(f"groups={groups} does not divide the {at.input.num_values} values", line=line)
    temperature = at.section.number("temperature", 1.0)
    if temperature <= 0:
        line = at.section.line_of("temperature")
        raise at.section.error(f"temperature must be above 0, got {temperature:g}", line=line)
    return Softmax(**at.common, output=at.input, groups=groups, temperature=temperature)


def _cost(at: Context) -> Layer:
    return Cost(**at.common, output=at.input)


_LEARNING = keys("learning_rate learning_rate_scale smooth momentum decay burnin_update train_only_bn clip")
_ANY = keys("stopbackward onlyforward numload dont_update dontsave") | _LEARNING
_NO_LOADING = {"dontload": "0", "dontloadscales": "0"}

LAYER_KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "convolutional": Kind(
            _convolutional,
            keys("filters size stride pad padding groups batch_normalize activation"),
            _ANY | keys("sway rotate stretch stretch_sway wait_stream coeff reverse_coeff angle"),
            {
                **_NO_LOADING,
                "flipped": "0",
                "binary": "0",
                "xnor": "0",
                "bin_output": "0",
                "use_bin_output": "0",
                "dilation": "1",
                "stride_x": "",
                "stride_y": "",
                "antialiasing": "0",
                "share_index": "",
                "assisted_excitation": "0",
                "deform": "0",
                "cbn": "0",
                "grad_centr": "0",
                "reverse": "0",
            },
        ),
        "local": Kind(_local, keys("filters size stride pad activation"), _ANY, _NO_LOADING),
        "connected": Kind(_connected, keys("output batch_normalize activation"), _ANY, _NO_LOADING),
        "maxpool": Kind(
            _maxpool,
            keys("size stride padding"),
            _ANY,
            {"antialiasing": "0", "maxpool_depth": "0", "out_channels": "1", "stride_x": "", "stride_y": ""},
        ),
        "avgpool": Kind(_avgpool, frozenset(), _ANY),
        "route": Kind(_route, keys("layers groups group_id"), _ANY, {"stream": "0"}),
        "shortcut": Kind(
            _shortcut,
            keys("from activation"),
            _ANY,
            {"weights_type": "none", "weights_normalization": "none", "alpha": "1", "beta": "1"},
        ),
        "scale_channels": Kind(_scale_channels, keys("from activation"), _ANY, {"scale_wh": "0"}),
        "upsample": Kind(_upsample, keys("stride scale"), _ANY),
        "reorg": Kind(_reorg, keys("stride reverse"), _ANY, {"flatten": "0", "extra": "0"}),
        "dropout": Kind(_dropout, keys("probability"), _ANY, {"dropblock": "0", "dropblock_size_rel": "0"}),
        "crop": Kind(
            _crop,
            keys("crop_height crop_width noadjust"),
            _ANY | keys("flip angle saturation exposure shift hue"),
        ),
        "softmax": Kind(
            _softmax, keys("groups temperature"), _ANY | keys("noloss"), {"tree": "", "spatial": "0"}
        ),
        "cost": Kind(_cost, frozenset(), _ANY | keys("type scale ratio noobj thresh sparse")),
    }
)
"""The kinds of layers by section name; detection heads stand in `head_kinds`."""
