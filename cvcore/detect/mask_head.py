"""Mask R-CNN's second branch, and its loss (He et al. 2017, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from cvcore.detect.pasting import paste_masks
from cvcore.image.fit import Fit
from cvcore.types import Detections

POOLED, SIDE = 14, 28


class MaskHead(nn.Module):
    """RoIAlign to 14x14, 3x3 convolutions, a transposed one to 28x28, and a mask for each class (figure 4).

    A 1x1 convolution narrows the map before it is pooled, where the paper's feature pyramid has done so.

    Args:
        channels: of the feature map.
        num_labels: K, background not counted.
        stride: image pixels a cell of the map.
        width: channels of the head.
        num_convs: 3x3 convolutions; the paper has four.
    """

    def __init__(self, channels: int, num_labels: int, *, stride: int, width: int, num_convs: int) -> None:
        super().__init__()
        self.stride, self.num_labels = stride, num_labels
        self.narrow = nn.Conv2d(channels, width, 1)
        layers: list[nn.Module] = []
        for _ in range(num_convs):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.enlarge = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.masks = nn.Conv2d(width, num_labels, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.masks.weight, std=0.01)  # so that no pixel is sure of anything at first

    def forward(self, features: Tensor, boxes: Tensor, image_index: Tensor) -> Tensor:
        """Logits, (R, K, 28, 28) float32, of each class's mask of R boxes.

        Args:
            features: (B, C, h, w).
            boxes: (R, 4) float32 xyxy, pixels of the images that the map is of.
            image_index: (R,) int64.
        """
        rois = torch.cat([image_index[:, None].to(boxes), boxes], dim=1)
        narrow = self.narrow(features)
        # In float32, for in bfloat16 a region's edge would be off by pixels.
        pooled = roi_align(narrow.float(), rois, POOLED, 1 / self.stride, 2, aligned=True)
        hidden = self.convs(pooled.to(narrow.dtype))
        logits: Tensor = self.masks(F.relu(self.enlarge(hidden))).float()
        return logits


def draw_found(
    head: MaskHead, features: Tensor, found: Detections, fit: Fit, *, corner: tuple[int, int]
) -> Tensor:
    """Masks of an image's detections, (N, H, W) bool at the source image's size: of each its own class's.

    Args:
        head: of the model.
        features: (C, h, w), the image's map.
        found: boxes are in canvas pixels.
        fit: where the image lies on the canvas.
        corner: x and y of the map's upper left corner on the canvas, pixels.
    """
    boxes = found.boxes - found.boxes.new_tensor(corner * 2)
    dtype = next(head.parameters()).dtype
    logits = head(features[None].to(dtype), boxes, torch.zeros_like(found.label_ids))
    rows = torch.arange(len(found), device=logits.device)
    return paste_masks(logits[rows, found.label_ids].sigmoid(), found.boxes, fit)


def mask_targets(masks: Tensor, boxes: Tensor, rows: Tensor) -> Tensor:
    """What is wanted of boxes: the parts of true masks that they cut out, (R, 28, 28) float32, 0 to 1.

    Args:
        masks: (N, H, W), 1 inside of each object.
        boxes: (R, 4) float32 xyxy, pixels.
        rows: (R,) int64, which mask each box is to show.
    """
    needed, index = torch.unique(rows, return_inverse=True)
    rois = torch.cat([index[:, None].to(boxes), boxes], dim=1)
    cut: Tensor = roi_align(masks[needed, None].float(), rois, SIDE, 1.0)
    return cut[:, 0]


def mask_loss(logits: Tensor, label_ids: Tensor, wanted: Tensor) -> Tensor:
    """Mean binary cross-entropy of the masks of the right classes alone; 0 of no box.

    Args:
        logits: (R, K, 28, 28).
        label_ids: (R,) int64, from 0.
        wanted: (R, 28, 28), 0 to 1.
    """
    if not len(logits):
        return logits.sum()
    own = logits[torch.arange(len(logits), device=logits.device), label_ids]
    return F.binary_cross_entropy_with_logits(own, wanted)
