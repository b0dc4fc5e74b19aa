"""Read and write Darknet `.weights`: a short header, then float32 values layer by layer.

Order within a layer: a convolution holds bias, [scale, mean, variance,] kernel; a connected layer bias,
weight[, scale, mean, variance]; a local layer bias, kernel. All little-endian.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch

from cvcore.darknet.convolution import ConvolutionBlock
from cvcore.darknet.layers import Layer
from cvcore.darknet.modules import ConnectedBlock, LocalBlock
from cvcore.darknet.network import DarknetNetwork
from cvcore.darknet.stored import StoredTensor
from cvcore.errors import WeightsError

Values = npt.NDArray[np.float32]
_VALUE = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class WeightsHeader:
    """The header of a `.weights` file.

    Attributes:
        major, minor, revision: the format's version.
        seen: images seen while training; 32 bits before version 0.2, 64 from there on.
    """

    major: int = 0
    minor: int = 2
    revision: int = 5
    seen: int = 0

    def __post_init__(self) -> None:
        bits = 64 if self.has_wide_seen else 32
        if not 0 <= self.seen < 2**bits:
            raise ValueError(f"seen must fit {bits} unsigned bits in this version, got {self.seen}")

    @property
    def has_wide_seen(self) -> bool:
        return self.major * 10 + self.minor >= 2 and self.major < 1000 and self.minor < 1000

    @property
    def is_transposed(self) -> bool:
        """Whether connected weights are stored (inputs, outputs): versions above 1000 mark that."""
        return self.major > 1000 or self.minor > 1000

    @property
    def num_bytes(self) -> int:
        return 20 if self.has_wide_seen else 16

    def to_bytes(self) -> bytes:
        layout = "<iiiQ" if self.has_wide_seen else "<iiiI"
        return struct.pack(layout, self.major, self.minor, self.revision, self.seen)


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """What a load did: the file's header, and how many layers, from the first, now hold its values."""

    header: WeightsHeader
    num_layers: int


def read_header(data: bytes, *, name: str = "weights") -> WeightsHeader:
    """Read the header of `data`.

    Raises:
        WeightsError: where the data is shorter than a header or the version is not believable.
    """
    if len(data) < 16:
        raise WeightsError(f"{name}: {len(data)} bytes are too few for a Darknet header (16 or 20)")
    major, minor, revision, seen = struct.unpack_from("<iiiI", data)
    header = WeightsHeader(major, minor, revision, seen)
    if min(major, minor, revision) < 0 or max(major, minor, revision) > 100_000:
        version = f"{major}.{minor}.{revision}"
        raise WeightsError(f"{name}: not a Darknet weights file: its version would be {version}")
    if not header.has_wide_seen:
        return header
    if len(data) < 20:
        raise WeightsError(f"{name}: {len(data)} bytes are too few for its header of 20")
    (wide,) = struct.unpack_from("<Q", data, 12)
    return WeightsHeader(major, minor, revision, wide)


def cutoff_from_name(name: str) -> int | None:
    """How many layers a partial file says it holds by its last suffix: `darknet53.conv.74`, `Nano.57`."""
    match = re.fullmatch(r"\.(\d+)", PurePosixPath(name).suffix)
    return int(match[1]) if match else None


def load_weights(
    network: DarknetNetwork, data: bytes, *, name: str = "weights", num_layers: int | None = None
) -> LoadedWeights:
    """Copy the values of a `.weights` file into `network`, which is unfused by it.

    Args:
        network: changed only if the whole file fits it.
        data: the file's content.
        name: how errors call it.
        num_layers: load a partial file that holds exactly the first so many layers (see
            `cutoff_from_name`); by default the file must hold the whole network.

    Raises:
        WeightsError: where values are missing or left over, naming the layer, the expected and the found
            count; where a value is not finite or a variance negative, as in a file of another network.
    """
    header = read_header(data, name=name)
    layers = _first_layers(network, num_layers)
    values = _check_counts(layers, network, data, header, name)
    ends = list(accumulate(layer.num_weights for layer in layers))
    parts = [
        _split(_stored(network, layer), values[end - layer.num_weights : end])
        for layer, end in zip(layers, ends, strict=True)
    ]
    for layer, its_parts in zip(layers, parts, strict=True):
        _check_values(layer, its_parts, name)
    network.unfuse()
    for item, its_values in chain.from_iterable(parts):
        _fill(item, its_values, header)
    return LoadedWeights(header, len(layers))


def weight_chunks(
    network: DarknetNetwork, *, header: WeightsHeader | None = None, num_layers: int | None = None
) -> Iterator[bytes]:
    """The `.weights` file of `network` in pieces, for files too large to hold twice."""
    header = header or WeightsHeader()
    yield header.to_bytes()
    for layer in _first_layers(network, num_layers):
        for stored in _stored(network, layer):
            values = stored.tensor.detach().cpu().float()
            values = values.t() if header.is_transposed and stored.role == "matrix" else values
            yield values.contiguous().numpy().astype(_VALUE, copy=False).tobytes()


def write_weights(
    network: DarknetNetwork, *, header: WeightsHeader | None = None, num_layers: int | None = None
) -> bytes:
    """The `.weights` file of `network`, or of its first `num_layers` layers (a partial backbone)."""
    return b"".join(weight_chunks(network, header=header, num_layers=num_layers))


def _first_layers(network: DarknetNetwork, num_layers: int | None) -> tuple[Layer, ...]:
    layers = network.cfg.layers
    if num_layers is None:
        return layers
    if not 1 <= num_layers <= len(layers):
        raise WeightsError(f"num_layers must be 1 to {len(layers)}, the network's layers; got {num_layers}")
    return layers[:num_layers]


def _stored(network: DarknetNetwork, layer: Layer) -> list[StoredTensor]:
    """The tensors of a layer in file order; empty for layers without weights."""
    block = network.blocks[layer.index]
    if isinstance(block, ConvolutionBlock | ConnectedBlock | LocalBlock):
        return block.stored_tensors()
    return []


def _check_counts(
    layers: tuple[Layer, ...], network: DarknetNetwork, data: bytes, header: WeightsHeader, name: str
) -> Values:
    expected = sum(layer.num_weights for layer in layers)
    found, odd_bytes = divmod(len(data) - header.num_bytes, _VALUE.itemsize)
    if found < expected:
        raise WeightsError(_too_short(layers, found, expected, name))
    if found > expected or odd_bytes:
        extra = len(data) - header.num_bytes - expected * _VALUE.itemsize
        whole = len(layers) == len(network.cfg.layers)
        hint = "it belongs to another cfg" if whole else "it holds more layers, or belongs to another cfg"
        raise WeightsError(
            f"{name}: {extra} bytes left over after {layers[-1]}: expected {expected} values after the "
            f"header, found {found}{f' and {odd_bytes} bytes' if odd_bytes else ''}; {hint}"
        )
    return np.frombuffer(data, dtype=_VALUE, count=expected, offset=header.num_bytes)


def _too_short(layers: tuple[Layer, ...], found: int, expected: int, name: str) -> str:
    left = found
    for layer in layers:
        if layer.num_weights > left:
            break
        left -= layer.num_weights
    message = (
        f"{name}: too short: {layer} needs {layer.num_weights} values, {left} are left "
        f"(expected {expected} values after the header, found {found})"
    )
    if left == 0 and layer.index > 0:
        message += f"; if this is a partial backbone, load it with num_layers={layer.index}"
    return message


def _split(stored: list[StoredTensor], span: Values) -> list[tuple[StoredTensor, Values]]:
    ends = list(accumulate(item.tensor.numel() for item in stored))
    return [(item, span[end - item.tensor.numel() : end]) for item, end in zip(stored, ends, strict=True)]


def _check_values(layer: Layer, parts: list[tuple[StoredTensor, Values]], name: str) -> None:
    for item, values in parts:
        if not np.isfinite(values).all():
            raise WeightsError(f"{name}: {layer} holds NaN or infinite values; the file is corrupt")
        if item.role == "variance" and (values < 0).any():
            raise WeightsError(f"{name}: {layer} would get negative variances; the file is of another cfg")


def _fill(item: StoredTensor, values: Values, header: WeightsHeader) -> None:
    # A copy in native byte order: torch takes neither foreign nor read-only memory.
    source = torch.from_numpy(values.astype(np.float32))
    if header.is_transposed and item.role == "matrix":
        source = source.reshape(item.tensor.shape[::-1]).t()
    with torch.no_grad():
        item.tensor.copy_(source.reshape(item.tensor.shape))
