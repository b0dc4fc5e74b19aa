"""Every layer against a plain loop over Darknet's index arithmetic, or against a formula."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cvcore.darknet.activations import ACTIVATIONS
from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.modules import ConnectedBlock, LocalBlock
from tests.cvcore.darknet.builds import random_network, randomize, sections, single

Array = npt.NDArray[np.float32]


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _maxpool_loop(x: Array, size: int, stride: int, padding: int) -> Array:
    channels, height, width = x.shape
    out_h, out_w = (height + padding - size) // stride + 1, (width + padding - size) // stride + 1
    out = np.full((channels, out_h, out_w), -np.inf, dtype=np.float32)
    for k, i, j, n, m in np.ndindex(channels, out_h, out_w, size, size):
        row, column = i * stride + n - padding // 2, j * stride + m - padding // 2
        if 0 <= row < height and 0 <= column < width:
            out[k, i, j] = max(out[k, i, j], x[k, row, column])
    return out


@pytest.mark.parametrize("height", [7, 8])
@pytest.mark.parametrize("width", [9, 6])
@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(2, 2, None), (2, 1, None), (3, 1, None), (3, 2, None), (3, 2, 0), (4, 3, None), (5, 1, 4), (3, 1, 4)],
)
def test_maxpool_equals_the_loop(
    height: int, width: int, size: int, stride: int, padding: int | None
) -> None:
    key = "" if padding is None else f" padding={padding}"
    pool = single(f"maxpool size={size} stride={stride}{key}", height=height, width=width, channels=2)
    x = _random(2, 2, height, width)
    total = size - 1 if padding is None else padding
    expected = np.stack([_maxpool_loop(image.numpy(), size, stride, total) for image in x])
    np.testing.assert_array_equal(pool(x).numpy(), expected)


def _reorg_loop(x: Array, stride: int, *, reverse: bool) -> Array:
    """Darknet's walk over flat memory, with the input's own width, height and channels."""
    batch, channels, height, width = x.shape
    few = channels // (stride * stride)
    source, out = x.reshape(-1), np.empty(x.size, dtype=np.float32)
    for b, k, j, i in np.ndindex(batch, channels, height, width):
        packed = i + width * (j + height * (k + channels * b))
        phase, c = divmod(k, few)
        x2, y2 = i * stride + phase % stride, j * stride + phase // stride
        spread = x2 + width * stride * (y2 + height * stride * (c + few * b))
        if reverse:
            out[spread] = source[packed]
        else:
            out[packed] = source[spread]
    if reverse:
        return out.reshape(batch, few, height * stride, width * stride)
    return out.reshape(batch, channels * stride**2, height // stride, width // stride)


@pytest.mark.parametrize(
    ("stride", "channels", "height", "width"), [(2, 8, 4, 6), (2, 4, 6, 2), (3, 9, 6, 3)]
)
def test_reorg_equals_the_loop(stride: int, channels: int, height: int, width: int) -> None:
    reorg = single(f"reorg stride={stride}", height=height, width=width, channels=channels)
    x = _random(2, channels, height, width)
    np.testing.assert_array_equal(reorg(x).numpy(), _reorg_loop(x.numpy(), stride, reverse=False))


def test_reverse_reorg_equals_the_loop_and_undoes_the_same_walk() -> None:
    back = single("reorg stride=2 reverse=1", height=4, width=6, channels=8)
    x = _random(2, 8, 4, 6)
    np.testing.assert_array_equal(back(x).numpy(), _reorg_loop(x.numpy(), 2, reverse=True))
    forth = single("reorg stride=2", height=4, width=6, channels=8)(x)
    assert torch.equal(back(forth.reshape(x.shape)).reshape(x.shape), x)


def _shortcut_loop(out: Array, add: Array) -> Array:
    (c1, h1, w1), (c2, h2, w2) = add.shape, out.shape
    stride, sample = max(1, w1 // w2), max(1, w2 // w1)
    result = out.copy()
    for k, j, i in np.ndindex(min(c1, c2), min(h1, h2), min(w1, w2)):
        result[k, j * sample, i * sample] += add[k, j * stride, i * stride]
    return result


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("filters=4 stride=1", "filters=4 stride=1"),
        ("filters=6 stride=1", "filters=4 stride=1"),
        ("filters=4 stride=1", "filters=6 stride=2"),
    ],
    ids=["same", "more channels", "half size"],
)
def test_shortcut_equals_the_loop(first: str, second: str) -> None:
    network = random_network(
        sections(f"convolutional {first}", f"convolutional {second}", "shortcut from=0 activation=linear")
    )
    x = _random(2, 3, 8, 8)
    with torch.inference_mode():
        add = network.blocks[0](x)
        out = network.blocks[1](add)
        result = network.blocks[2](out, add)
    expected = np.stack([_shortcut_loop(o.numpy(), a.numpy()) for o, a in zip(out, add, strict=True)])
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)


def test_shortcut_from_a_smaller_layer_writes_every_second_pixel() -> None:
    network = random_network(
        sections(
            "convolutional filters=4",
            "maxpool size=2 stride=2",
            "upsample stride=2",
            "shortcut from=1",
        )
    )
    big, small = _random(1, 4, 8, 8), _random(1, 4, 4, 4)
    expected = _shortcut_loop(big[0].numpy(), small[0].numpy())
    np.testing.assert_allclose(network.blocks[3](big, small)[0].numpy(), expected, atol=1e-6)


def test_local_equals_a_loop_over_locations() -> None:
    block = single("local filters=3 size=3 stride=2 pad=1 activation=linear", height=5, width=7, channels=2)
    assert isinstance(block, LocalBlock)
    randomize(block)
    x = _random(2, 2, 5, 7)
    padded = F.pad(x, (1, 1, 1, 1))
    out = block(x)
    assert out.shape == (2, 3, 3, 4)
    for b, n, i, j in np.ndindex(*out.shape):
        window = padded[b, :, i * 2 : i * 2 + 3, j * 2 : j * 2 + 3].flatten()
        expected = block.weight[i * 4 + j, n] @ window + block.bias[n, i * 4 + j]
        assert out[b, n, i, j].item() == pytest.approx(expected.item(), abs=1e-5)


def test_convolution_norm_and_activation_follow_darknets_formula() -> None:
    block = single("convolutional filters=4 size=3 pad=1 batch_normalize=1 activation=leaky")
    assert isinstance(block, ConvolutionBlock)
    assert block.norm is not None
    assert block.norm.running_mean is not None
    assert block.norm.running_var is not None
    randomize(block)
    x = _random(2, 3, 8, 8)
    norm = block.norm
    with torch.inference_mode():
        z = F.conv2d(x.double(), block.conv.weight.double(), padding=1)
        z = (z - norm.running_mean[:, None, None]) / (norm.running_var.sqrt() + 1e-6)[:, None, None]
        z = z * norm.weight[:, None, None] + norm.bias[:, None, None]
        expected = torch.where(z > 0, z, 0.1 * z)
        torch.testing.assert_close(block(x).double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", [0, 1])
def test_folding_keeps_the_result_and_the_parameters(norm: int) -> None:
    block = single(
        f"convolutional filters=6 groups=3 size=3 pad=1 batch_normalize={norm} activation=mish", channels=3
    )
    assert isinstance(block, ConvolutionBlock)
    randomize(block)
    before = {name: tensor.clone() for name, tensor in block.state_dict().items()}
    x = _random(2, 3, 8, 8)
    with torch.inference_mode():
        plain = block(x)
        block.fold()
        assert block.folded_bias is not None
        torch.testing.assert_close(block(x), plain, atol=1e-5, rtol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in block.state_dict().items())
    assert block(x).requires_grad, "with gradients on, the parameters are what runs"


def test_connected_flattens_channels_first_and_normalizes() -> None:
    block = single("connected output=5 batch_normalize=1 activation=relu", height=2, width=3)
    assert isinstance(block, ConnectedBlock)
    randomize(block)
    norm, x = block.norm, _random(4, 3, 2, 3)
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    z = x.reshape(4, -1) @ block.linear.weight.T
    z = (z - norm.running_mean) / norm.running_var.sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(block(x), z.relu()[:, :, None, None], atol=1e-5, rtol=1e-5)


def test_crop_takes_the_centre_and_shifts_values() -> None:
    x = torch.rand(1, 3, 8, 8)
    cropped = single("crop crop_height=4 crop_width=6 flip=1")(x)
    assert torch.equal(cropped, x[:, :, 2:6, 1:7] * 2 - 1)
    assert torch.equal(single("crop crop_height=4 crop_width=6 noadjust=1")(x), x[:, :, 2:6, 1:7])


def test_softmax_runs_over_each_group_of_the_flat_input() -> None:
    x = _random(2, 6, 1, 1)
    out = single("softmax groups=2 temperature=2", height=1, width=1, channels=6)(x)
    expected = torch.cat([torch.softmax(part / 2, dim=1) for part in x.chunk(2, dim=1)], dim=1)
    torch.testing.assert_close(out, expected)


def test_upsample_repeats_and_scales() -> None:
    x = _random(1, 3, 2, 2)
    out = single("upsample stride=3 scale=.5", height=2, width=2)(x)
    assert torch.equal(out, x.repeat_interleave(3, dim=2).repeat_interleave(3, dim=3) * 0.5)


def test_avgpool_and_scale_channels_make_a_squeeze_and_excitation() -> None:
    network = random_network(sections("avgpool", "convolutional filters=3", "route layers=0", "avgpool"))
    x = _random(2, 3, 8, 8)
    torch.testing.assert_close(network.blocks[0](x), x.mean(dim=(2, 3), keepdim=True))
    scaled = random_network(
        sections("convolutional filters=3", "avgpool", "scale_channels from=0 activation=relu")
    ).blocks[2]
    factors = _random(2, 3, 1, 1)
    assert torch.equal(scaled(factors, x), (x * factors).relu())


def test_dropout_does_nothing_at_inference() -> None:
    x = _random(2, 3, 8, 8)
    assert torch.equal(single("dropout probability=.9")(x), x)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


_FORMULAS = {
    "linear": lambda x: x,
    "leaky": lambda x: x if x > 0 else 0.1 * x,
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "logistic": _sigmoid,
    "tanh": math.tanh,
    "elu": lambda x: x if x >= 0 else math.exp(x) - 1,
    "selu": lambda x: 1.0507 * x if x >= 0 else 1.0507 * 1.6732 * (math.exp(x) - 1),
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(0.797885 * x + 0.035677 * x**3)),
    "mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "hard_mish": lambda x: x if x > 0 else (x * x / 2 + x if x > -2 else 0),
    "swish": lambda x: x * _sigmoid(x),
    "loggy": lambda x: 2 * _sigmoid(x) - 1,
    "relie": lambda x: x if x > 0 else 0.01 * x,
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "hardtan": lambda x: min(max(x, -1), 1),
    "lhtan": lambda x: 0.001 * x if x < 0 else (0.001 * (x - 1) + 1 if x > 1 else x),
    "plse": lambda x: 0.01 * (x + 4) if x < -4 else (0.01 * (x - 4) + 1 if x > 4 else 0.125 * x + 0.5),
    "stair": lambda x: (
        math.floor(x / 2) if math.floor(x) % 2 == 0 else (x - math.floor(x)) + math.floor(x / 2)
    ),
}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activation_equals_darknets_formula(name: str) -> None:
    x = torch.linspace(-7.25, 7.25, 59)
    expected = torch.tensor([float(_FORMULAS[name](value)) for value in x.tolist()])
    torch.testing.assert_close(ACTIVATIONS[name](x.clone()), expected, atol=1e-4, rtol=0)
