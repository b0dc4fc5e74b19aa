"""Reading and writing `.weights`: versions, order, round-trips, partial files, and files that do not fit."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch

from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.modules import ConnectedBlock, LocalBlock
from cvcore.darknet.network import DarknetNetwork
from cvcore.darknet.weights import (
    WeightsHeader,
    cutoff_from_name,
    load_weights,
    read_header,
    weight_chunks,
    write_weights,
)
from cvcore.errors import WeightsError
from tests.cvcore.darknet.builds import random_network, randomize, sections

BODY = sections(
    "convolutional filters=4 size=3 pad=1 groups=1 batch_normalize=1 activation=leaky",
    "maxpool size=2 stride=2",
    "convolutional filters=2 size=1 activation=linear",
    "local filters=3 size=3 pad=1 activation=leaky",
    "connected output=5 batch_normalize=1 activation=leaky",
    "connected output=2 activation=linear",
)
# Values of each layer, and so of the first so many.
COUNTS = [4 * 4 + 4 * 27, 0, 2 + 8, 48 + 48 * 18, 5 * 4 + 5 * 48, 2 + 10]


def _network(seed: int = 0) -> DarknetNetwork:
    network = random_network(BODY)
    randomize(network, seed=seed)
    return network


def _same(a: DarknetNetwork, b: DarknetNetwork) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def _ramp(count: int) -> bytes:
    return np.arange(count, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("header", "num_bytes"),
    [
        (WeightsHeader(0, 1, 0, 2**32 - 1), 16),
        (WeightsHeader(0, 2, 0, 2**40), 20),
        (WeightsHeader(0, 2, 5, 7), 20),
        (WeightsHeader(1, 0, 0, 7), 20),
        (WeightsHeader(0, 1001, 0, 7), 16),
    ],
)
def test_header_round_trips_in_its_own_width(header: WeightsHeader, num_bytes: int) -> None:
    data = header.to_bytes()
    assert len(data) == header.num_bytes == num_bytes
    assert read_header(data + bytes(8)) == header


@pytest.mark.parametrize("header", [WeightsHeader(0, 1, 0, 9), WeightsHeader(0, 2, 5, 2**35)])
def test_writer_and_reader_round_trip_exactly(header: WeightsHeader) -> None:
    source, target = _network(1), _network(2)
    data = write_weights(source, header=header)
    loaded = load_weights(target, data)
    assert loaded.header == header
    assert loaded.num_layers == 6
    assert _same(source, target)
    assert write_weights(target, header=loaded.header) == data
    assert b"".join(weight_chunks(target, header=header)) == data


def test_values_lie_in_darknets_order() -> None:
    network = _network()
    load_weights(network, WeightsHeader().to_bytes() + _ramp(sum(COUNTS)))
    conv, local, normed = network.blocks[0], network.blocks[3], network.blocks[4]
    assert isinstance(conv, ConvolutionBlock)
    assert isinstance(local, LocalBlock)
    assert isinstance(normed, ConnectedBlock)
    assert conv.norm is not None
    assert conv.norm.running_mean is not None
    assert conv.norm.running_var is not None
    parts = [conv.norm.bias, conv.norm.weight, conv.norm.running_mean, conv.norm.running_var]
    assert torch.cat([*parts, conv.conv.weight.flatten()]).tolist() == list(range(COUNTS[0]))
    start = sum(COUNTS[:3])
    assert torch.cat([local.bias.flatten(), local.weight.flatten()]).tolist() == list(
        range(start, start + COUNTS[3])
    )
    start += COUNTS[3]
    assert normed.norm is not None
    assert normed.norm.running_mean is not None
    assert normed.norm.running_var is not None
    parts = [normed.norm.bias, normed.linear.weight.flatten(), normed.norm.weight]
    parts += [normed.norm.running_mean, normed.norm.running_var]
    assert torch.cat(parts).tolist() == list(range(start, start + COUNTS[4]))


def test_versions_above_1000_store_connected_weights_transposed() -> None:
    source, target = _network(1), _network(2)
    header = WeightsHeader(0, 1001, 0, 0)
    data = write_weights(source, header=header)
    load_weights(target, data)
    assert _same(source, target)
    last = source.blocks[5]
    assert isinstance(last, ConnectedBlock)
    stored = np.frombuffer(data, dtype="<f4")[-10:].reshape(5, 2)
    np.testing.assert_array_equal(stored.T, last.linear.weight.detach().numpy())


def test_loading_into_a_fused_network_is_not_hidden_by_the_old_copies() -> None:
    source, target = _network(1), _network(2).fuse()
    load_weights(target, write_weights(source))
    images = torch.rand(2, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(target(images)[0], source(images)[0])
        assert write_weights(target.fuse()) == write_weights(source)


def test_a_half_precision_network_is_written_as_float32() -> None:
    network = _network().half()
    data = write_weights(network)
    assert len(data) == 20 + 4 * sum(COUNTS)
    again = _network(5)
    load_weights(again, data)
    assert torch.equal(again.blocks[0].get_parameter("conv.weight").half(), network.blocks[0].conv.weight)


def test_partial_file_loads_the_first_layers_and_says_how_many() -> None:
    source, target = _network(1), _network(2)
    untouched = target.blocks[3].state_dict()["weight"].clone()
    data = write_weights(source, num_layers=3)
    assert len(data) == 20 + 4 * sum(COUNTS[:3])
    assert load_weights(target, data, num_layers=3).num_layers == 3
    assert torch.equal(target.blocks[2].state_dict()["conv.weight"], source.blocks[2].conv.weight)
    assert torch.equal(target.blocks[3].state_dict()["weight"], untouched)


def test_partial_file_is_refused_unless_asked_for_and_the_way_out_is_named() -> None:
    data = write_weights(_network(), num_layers=3)
    with pytest.raises(WeightsError, match=r"layer 3 \[local\] \(line \d+\) needs 912 .* num_layers=3"):
        load_weights(_network(), data, name="backbone.weights")


@pytest.mark.parametrize(
    ("name", "cutoff"),
    [
        ("MobileNetV2-Nano.57", 57),
        ("darknet53.conv.74", 74),
        ("s3://bucket/a.b/yolov3-tiny.conv.15", 15),
        ("yolov3.weights", None),
        ("yolo-fastest-1.1.weights", None),
        ("weights", None),
    ],
)
def test_cutoff_is_the_last_suffix(name: str, cutoff: int | None) -> None:
    assert cutoff_from_name(name) == cutoff


def _negative_variance() -> bytes:
    values = np.ones(sum(COUNTS), dtype="<f4")
    values[12] = -1
    return WeightsHeader().to_bytes() + values.tobytes()


def _not_finite() -> bytes:
    values = np.ones(sum(COUNTS), dtype="<f4")
    values[sum(COUNTS[:2]) + 1] = np.nan
    return WeightsHeader().to_bytes() + values.tobytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", ["0 bytes", "header"], id="empty"),
        pytest.param(WeightsHeader().to_bytes()[:18], ["18 bytes"], id="cut header"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(30), ["not a Darknet weights file"], id="other format"),
        pytest.param(struct.pack("<iiii", -1, 0, 0, 0) + bytes(8), ["not a Darknet"], id="negative version"),
        pytest.param(
            WeightsHeader().to_bytes() + _ramp(sum(COUNTS) - 1),
            ["too short", "layer 5 [connected]", "needs 12 values, 11 are left", str(sum(COUNTS))],
            id="one value short",
        ),
        pytest.param(
            WeightsHeader().to_bytes() + _ramp(100),
            ["layer 0 [convolutional] (line 5) needs 124 values, 100 are left"],
            id="short in the first layer",
        ),
        pytest.param(
            WeightsHeader().to_bytes() + _ramp(sum(COUNTS) + 2),
            ["8 bytes left over after layer 5 [connected]", str(sum(COUNTS)), str(sum(COUNTS) + 2)],
            id="extra values",
        ),
        pytest.param(
            WeightsHeader().to_bytes() + _ramp(sum(COUNTS)) + b"x", ["1 bytes left over"], id="extra byte"
        ),
        pytest.param(_negative_variance(), ["layer 0", "negative variances"], id="negative variance"),
        pytest.param(_not_finite(), ["layer 2", "NaN"], id="not finite"),
    ],
)
def test_file_that_does_not_fit_is_refused_and_changes_nothing(data: bytes, words: list[str]) -> None:
    network, before = _network(), _network()
    with pytest.raises(WeightsError) as caught:
        load_weights(network, data, name="some.weights")
    message = str(caught.value)
    assert message.startswith("some.weights: ")
    for word in words:
        assert word in message
    assert _same(network, before)


@pytest.mark.parametrize("num_layers", [0, 7])
def test_cutoff_outside_the_network_is_refused(num_layers: int) -> None:
    with pytest.raises(WeightsError, match=f"1 to 6.*got {num_layers}"):
        load_weights(_network(), write_weights(_network()), num_layers=num_layers)


def test_seen_that_does_not_fit_the_version_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        WeightsHeader(0, 1, 0, 2**32)
