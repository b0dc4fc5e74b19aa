"""Running a network: what it returns, what it frees, fusing, slicing, training."""

from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import Tensor

from cvcore.darknet.cfg import parse_cfg
from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.layers import Layer
from cvcore.darknet.network import DarknetNetwork, count_parameters
from cvcore.errors import ModelError
from tests.cvcore.darknet.builds import all_outputs, cfg_text, random_network, randomize, sections

CONV = "convolutional filters=8 size=3 pad=1 batch_normalize=1 activation=leaky"
TWO_HEADS = sections(
    CONV,
    "maxpool size=2 stride=2",
    CONV,
    "shortcut from=-2 activation=relu",
    "convolutional filters=14 activation=linear",
    "yolo mask=0,1 anchors=1,2,3,4,5,6,7,8 num=4 classes=2",
    "route layers=-3",
    "upsample stride=2",
    "route layers=-1,0",
    "convolutional filters=14 activation=linear",
    "yolo mask=2,3 anchors=1,2,3,4,5,6,7,8 num=4 classes=2",
)


def _images(batch: int = 2, size: int = 8) -> Tensor:
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(3))


def _run(network: DarknetNetwork, images: Tensor) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        outputs = network(images)
    assert isinstance(outputs, tuple)
    return outputs


def test_returns_every_heads_raw_input_in_file_order() -> None:
    network = random_network(TWO_HEADS)
    every = all_outputs(network, _images())
    small, large = _run(network, _images())
    assert small.shape == (2, 14, 4, 4)
    assert large.shape == (2, 14, 8, 8)
    torch.testing.assert_close(small, every[4])
    torch.testing.assert_close(large, every[9])


def test_without_a_head_returns_the_last_layer_and_passes_cost_through() -> None:
    network = random_network(sections(CONV, "avgpool", "softmax groups=1", "cost type=sse"))
    (output,) = _run(network, _images())
    torch.testing.assert_close(output.sum(dim=1).flatten(), torch.ones(2))


def test_shapes_inferred_are_the_shapes_computed() -> None:
    network = random_network(TWO_HEADS)
    for layer, output in zip(network.cfg.layers, all_outputs(network, _images()), strict=True):
        shape = layer.output
        assert output.shape[1:] == (shape.channels, shape.height, shape.width), layer


def test_activations_are_freed_after_their_last_reader() -> None:
    network = random_network(sections(CONV, CONV, "shortcut from=0", CONV, CONV))
    made: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def watch(_module: object, _inputs: object, output: Tensor) -> None:
        alive.append(sum(ref() is not None for ref in made))
        made.append(weakref.ref(output))

    for block in network.blocks:
        block.register_forward_hook(watch)
    _run(network, _images())
    # While layer 4 runs only its own input, layer 3's output, is still there.
    assert alive == [0, 1, 2, 1, 1]


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 1, 8, 8), (3, 8, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="3x8x8"):
        random_network(TWO_HEADS)(torch.zeros(shape))


def test_fusing_keeps_outputs_and_state_and_unfusing_restores_them_exactly() -> None:
    network = random_network(TWO_HEADS)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    plain = _run(network, _images())
    fused = _run(network.fuse(), _images())
    for a, b in zip(fused, plain, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(_run(network.unfuse(), _images()), plain, strict=True))


def test_loading_a_state_dict_drops_what_was_fused() -> None:
    network, other = random_network(TWO_HEADS).fuse(), random_network(TWO_HEADS)
    randomize(other, seed=7)
    network.load_state_dict(other.state_dict())
    for a, b in zip(_run(network, _images()), _run(other, _images()), strict=True):
        assert torch.equal(a, b)


def test_a_copy_is_not_fused_so_that_it_follows_its_own_parameters() -> None:
    network = random_network(TWO_HEADS).fuse()
    copied = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(1.5)
    other = random_network(TWO_HEADS)
    other.load_state_dict(copied.state_dict())
    for a, b in zip(_run(copied, _images()), _run(other, _images()), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_fused_network_that_is_cast_there_and_back_is_fused_still(dtype: torch.dtype) -> None:
    network = random_network(TWO_HEADS).fuse()
    block = next(block for block in network.blocks if isinstance(block, ConvolutionBlock))
    network.to(dtype)
    assert block.folded_weight is not None
    assert block.folded_weight.dtype == dtype
    network.float()
    assert block.folded_bias is not None
    assert block.folded_bias.dtype == torch.float32
    for a, b in zip(_run(network, _images()), _run(network.unfuse(), _images()), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_training_mode_unfuses_and_gradients_reach_every_parameter() -> None:
    network = random_network(TWO_HEADS).fuse().train()
    blocks = [block for block in network.blocks if isinstance(block, ConvolutionBlock)]
    assert all(block.folded_bias is None for block in blocks)
    sum(output.square().sum() for output in network(_images())).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with pytest.raises(ModelError, match="eval"):
        network.fuse()


def test_batch_equals_single_images_also_where_the_batch_is_sliced() -> None:
    network = random_network(TWO_HEADS).fuse()
    network._slice_images = 2
    images = _images(batch=5)
    batch = _run(network, images)
    for i in range(5):
        for whole, single in zip(batch, _run(network, images[i : i + 1]), strict=True):
            torch.testing.assert_close(whole[i : i + 1], single, atol=1e-5, rtol=0)


def test_half_precision_follows_the_module() -> None:
    network = random_network(TWO_HEADS).fuse()
    plain = _run(network, _images())
    halved = _run(network.to(torch.bfloat16), _images().to(torch.bfloat16))
    assert halved[0].dtype == torch.bfloat16
    torch.testing.assert_close(halved[0].float(), plain[0], atol=0.15, rtol=0.05)


def test_other_canvas_sizes_use_the_same_weights() -> None:
    text = cfg_text(TWO_HEADS, height=8, width=8)
    small = DarknetNetwork(parse_cfg(text)).eval()
    large = DarknetNetwork(parse_cfg(text, height=16, width=24)).eval()
    large.load_state_dict(small.state_dict())
    assert [tuple(output.shape[2:]) for output in _run(large, torch.rand(1, 3, 16, 24))] == [
        (8, 12),
        (16, 24),
    ]


def test_counts_of_weights_are_those_of_the_tensors() -> None:
    network = random_network(sections(CONV, "local filters=2 size=3 pad=1", "connected output=5"))
    layers: tuple[Layer, ...] = network.cfg.layers
    statistics = 2 * 8
    assert sum(layer.num_weights for layer in layers) == count_parameters(network) + statistics
    assert network.cfg.num_operations == 2 * 64 * (8 * 27 + 2 * 72) + 2 * 128 * 5
