"""U-Net (Ronneberger et al. 2015): unpadded as published, or padded; of any depth and width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cvcore.autoencode.base import LUMA
from cvcore.image.fit import Fit
from cvcore.image.normalize import unit_floats
from cvcore.segment.base import Segmenter
from cvcore.segment.losses import SegmentLossOptions
from cvcore.segment.padding import mirrored
from cvcore.segment.unet_layers import UNetNetwork
from cvcore.types import InputSpec

LABELS = ("background", "object")
SMALLEST_PX = 8


class UNet(Segmenter):
    """U-Net whose logits have the image's size: the image is mirrored beyond its borders (figure 2).

    Attributes:
        network: the paper's; unpadded, it gives less than it is given: 388 x 388 of 572 x 572.
    """

    augmentation = ("flip", "turn", "jitter", "colour")

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        input_size: int,
        channels: int,
        width: int,
        depth: int,
        padded: bool,
        norm: bool,
        loss_options: SegmentLossOptions,
    ) -> None:
        super().__init__(labels, input_spec=InputSpec(input_size, input_size), loss_options=loss_options)
        self.network = UNetNetwork(channels, len(labels), width=width, depth=depth, padded=padded, norm=norm)
        self.channels = channels
        self.stride_px = 2**depth
        # A pixel reaches as far as half of what is lost, and its block of 2^depth pixels reaches together.
        self.margin_px = self.network.lost_px // 2 + self.stride_px - 1
        self.config = {
            "input_size": input_size,
            "channels": channels,
            "width": width,
            "depth": depth,
            "padded": padded,
            "norm": norm,
            "loss": loss_options.loss,
            "class_weights": list(loss_options.class_weights),
        }

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Tensor:
        """See `Segmenter.preprocess`: (B, 3 or 1, H, W), from -1 to 1; one channel is luma."""
        del fits
        images = unit_floats(canvases, next(self.parameters()).dtype)
        if self.channels == 1:
            images = (images * images.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        return images * 2 - 1

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) of any size from 1 to (B, C, H, W) float32 logits."""
        height, width = images.shape[2:]
        before = 0 if self.network.padded else self.network.lost_px // 2
        below, right = (self.network.input_side(side) - side - before for side in (height, width))
        images = mirrored(images, top=before, bottom=below, left=before, right=right)
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits[:, :, :height, :width].float()


def build_unet(
    labels: tuple[str, ...] | None = None,
    *,
    input_size: int = 512,
    channels: int = 3,
    width: float = 64,
    depth: int = 4,
    padded: bool = False,
    norm: bool = False,
    loss: str = "cross_entropy",
    class_weights: Sequence[float] = (),
) -> UNet:
    """Build an untrained U-Net.

    Args:
        labels: class names, the background among them.
        input_size: side of the canvas that jobs draw images on, pixels; the network takes any.
        channels: 3, or 1 for gray.
        width: channels of the first level; each deeper one has twice as many. The paper's is 64.
        depth: how often the picture is halved, 1 to 6; the paper's is 4.
        padded: convolve with zeros beyond the border, rather than mirror the image and lose the border.
        norm: normalise each convolution by its batch, which small networks learn faster with.
        loss: see `SegmentLossOptions`; the paper's is `border`.
        class_weights: likewise.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    if input_size < SMALLEST_PX:
        raise ValueError(f"input_size must be at least {SMALLEST_PX} px, got {input_size}")
    if width < 1 or width != round(width):
        raise ValueError(f"width must be a whole number of channels, from 1, got {width}")
    model = UNet(
        labels or LABELS,
        input_size=input_size,
        channels=channels,
        width=round(width),
        depth=depth,
        padded=padded,
        norm=norm,
        loss_options=SegmentLossOptions(loss, tuple(class_weights)),
    )
    return model.to(memory_format=torch.channels_last)
