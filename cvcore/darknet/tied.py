"""Learning YOLO v1's connected layer from few images: what one cell learns, all do."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from cvcore.darknet.layers import Detection
from cvcore.darknet.modules import ConnectedBlock
from cvcore.darknet.network import DarknetNetwork


def tie_cells(network: DarknetNetwork) -> None:
    """Let the cells of a `[detection]` head learn alike from now on, and start alike.

    The connected layer before the head has weights of its own for each of the S x S cells: VOC's thousands
    of images show every cell every class, a few hundred do not. Tied, each gradient is averaged over the
    cells, and a cell is told only what lies at its own place of the map before: the layer acts as a 1 x 1
    convolution, and stays the published layer.

    Raises:
        ValueError: if no such layer lies between the head and a map of as many cells.
    """
    head = network.cfg.heads[-1]
    layer = network.cfg.layers[head.index - 1]
    block = network.blocks[head.index - 1]
    if not isinstance(head, Detection) or not isinstance(block, ConnectedBlock):
        raise ValueError("tied learning is of a network that ends in [connected] and [detection]")
    if (layer.input.height, layer.input.width) != (head.side, head.side):
        raise ValueError(
            f"tied learning needs a map of {head.side} x {head.side} cells before the connected layer, not "
            f"{layer.input.height} x {layer.input.width}"
        )
    for parameter in block.linear.parameters():
        with torch.no_grad():
            parameter.copy_(averaged_over_cells(parameter, head))
        parameter.register_hook(partial(averaged_over_cells, head=head))  # type: ignore[no-untyped-call]


def averaged_over_cells(values: Tensor, head: Detection) -> Tensor:
    """What cells have in common: of (outputs, channels * S * S) weights, or of (outputs,) biases.

    Outputs are the head's: classes of all cells, then confidences, then boxes. Of weights, those that lead
    from another cell's place become 0.
    """
    cells, start = head.side**2, 0
    found = torch.zeros_like(values)
    for each in (head.num_classes, head.num, 4 * head.num):
        part = slice(start, start + cells * each)
        start += cells * each
        given = values[part].view(cells, each, *values.shape[1:])
        if values.dim() == 1:
            found[part] = given.mean(dim=0).repeat(cells)
            continue
        places = given.view(cells, each, -1, cells)  # to a cell, its output, channel, from a cell
        own = places.diagonal(dim1=0, dim2=3).mean(dim=-1)  # output, channel
        at = found[part].view(cells, each, -1, cells)
        at.diagonal(dim1=0, dim2=3).copy_(own[..., None].expand(-1, -1, cells))
    return found
