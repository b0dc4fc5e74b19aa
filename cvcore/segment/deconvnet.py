"""DeconvNet (Noh et al. 2015, Learning Deconvolution Network): maps of regions, merged over the image."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cvcore.errors import ModelError, WeightsError
from cvcore.image.fit import Fit
from cvcore.image.normalize import imagenet_floats
from cvcore.ops.warp import warp_regions
from cvcore.segment.base import Segmenter
from cvcore.segment.deconvnet_layers import STAGES, DeconvNetwork, copy_vgg16, vgg16_names
from cvcore.segment.fcn import SEGMENT_VOC_LABELS
from cvcore.segment.losses import SegmentLossOptions, segment_losses
from cvcore.segment.merge import merge_regions, region_instances
from cvcore.segment.regions import crop_mask, grown, sample_regions
from cvcore.types import Detections, DetectOptions, InputSpec

REGIONS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class RegionImages:
    """A batch of images, and regions of each that are segmented alone: (P, 4) xyxy, pixels."""

    images: Tensor
    regions: tuple[Tensor, ...]


class DeconvNet(Segmenter):
    """A network of one crop, and what joins the crops of an image.

    Attributes:
        network: takes and gives `network.side` pixels square.
        num_regions: how many regions of each image selective search proposes; 0 segments the whole alone.
        learned_regions: of each image and step, the whole among them; see `sample_regions`.
    """

    fixed_size = True
    backbone_parts = ("network.down",)

    def __init__(
        self,
        labels: tuple[str, ...],
        *,
        input_size: int,
        crop_size: int,
        depth: int,
        width: float,
        num_regions: int,
        learned_regions: int,
        loss_options: SegmentLossOptions,
    ) -> None:
        super().__init__(labels, input_spec=InputSpec(input_size, input_size), loss_options=loss_options)
        self.network = DeconvNetwork(len(labels), side=crop_size, depth=depth, width=width)
        self.num_regions, self.learned_regions = num_regions, learned_regions
        self.config = {
            "input_size": input_size,
            "crop_size": crop_size,
            "depth": depth,
            "width": width,
            "num_regions": num_regions,
            "learned_regions": learned_regions,
            "loss": loss_options.loss,
            "class_weights": list(loss_options.class_weights),
        }

    def preprocess(self, canvases: Tensor, fits: Sequence[Fit] | None = None) -> Tensor | RegionImages:
        """See `Segmenter.preprocess`; regions are proposed unless the model learns, or looks at the whole."""
        images = imagenet_floats(canvases, next(self.parameters()).dtype)
        if self.training or not self.num_regions:
            return images
        placed = [Fit(*canvases.shape[1:3], *canvases.shape[1:3])] * len(canvases) if fits is None else fits
        regions = [self._propose(canvas, fit) for canvas, fit in zip(canvases, placed, strict=True)]
        return RegionImages(images, tuple(regions))

    def forward(self, images: Tensor | RegionImages) -> Tensor:
        """Logits of whole images, or of what is merged of their regions: (B, C, H, W) float32."""
        if isinstance(images, Tensor):
            return self._whole(images)
        height, width = images.images.shape[2:]
        merged = []
        for image, regions in zip(images.images, images.regions, strict=True):
            boxes = torch.cat([regions.new_tensor([[0.0, 0.0, width, height]]), grown(regions)])
            scores = self.score_regions(image, boxes)
            merged.append(merge_regions(scores, boxes, height=height, width=width))
        return torch.stack(merged)

    def score_regions(self, image: Tensor, boxes: Tensor) -> Tensor:
        """Class scores of each region, (P, C, side, side) float32, of a normalised (3, H, W) image."""
        parts = []
        for some in torch.split(boxes, REGIONS_AT_ONCE):
            index = torch.zeros(len(some), dtype=torch.int64, device=image.device)
            crops = warp_regions(image[None], some.float(), index, crop_size=self.network.side)
            parts.append(self.network(crops).float())
        return torch.cat(parts) if parts else image.new_zeros((0, len(self.labels), *[self.network.side] * 2))

    @torch.inference_mode()
    def instances(self, canvas: Tensor, boxes: Tensor, options: DetectOptions) -> Detections:
        """The object in each region of one (H, W, 3) uint8 canvas; a detector's boxes, or any others."""
        height, width = canvas.shape[:2]
        regions = grown(boxes)
        image = imagenet_floats(canvas[None], next(self.parameters()).dtype)[0]
        scores = self.score_regions(image, regions)
        return region_instances(scores, regions, options, height=height, width=width)

    def losses(self, images: Any, masks: Tensor) -> dict[str, Tensor]:
        """See `Segmenter.losses`.

        Raises:
            ModelError: for a batch of one image, whose one vector has no variance to be normalised by.
        """
        if len(masks) < 2:
            raise ModelError("DeconvNet normalises one vector an image by its batch: take at least 2 images")
        if self.learned_regions == 1:
            return super().losses(images, masks)
        regions = [sample_regions(mask, self.learned_regions).to(images.device) for mask in masks]
        index = torch.arange(len(masks), device=images.device).repeat_interleave(self.learned_regions)
        crops = warp_regions(images, torch.cat(regions), index, crop_size=self.network.side)
        truth = [
            crop_mask(mask, own, side=self.network.side) for mask, own in zip(masks, regions, strict=True)
        ]
        return segment_losses(self.network(crops).float(), torch.cat(truth), self.loss_options)

    def load_backbone(self, state: Mapping[str, Tensor], *, name: str) -> None:
        """Start from torchvision's VGG16 (without batch norm).

        Raises:
            WeightsError: where its convolutions are missing or of another shape.
        """
        for layer, number in vgg16_names(len(self.network.down)):
            own = self.network.get_submodule(layer).state_dict()
            for part, tensor in own.items():
                found = state.get(f"features.{number}.{part}")
                if found is None or found.shape != tensor.shape:
                    raise WeightsError(
                        f"{name} does not fit: features.{number}.{part} must be {tuple(tensor.shape)}. "
                        "Pass torchvision's vgg16, and leave width at 1"
                    )
        copy_vgg16(self.network, state)

    def _whole(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        side = self.network.side
        if (height, width) == (side, side):
            return self.network(images).float()  # type: ignore[no-any-return]
        small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        scores = self.network(small).float()
        return F.interpolate(scores, size=(height, width), mode="bilinear", align_corners=False)

    def _propose(self, canvas: Tensor, fit: Fit) -> Tensor:
        search: Any = importlib.import_module("cvcore.propose.selective_search")
        rows = slice(fit.top, fit.top + fit.content_height)
        content = canvas[rows, fit.left : fit.left + fit.content_width].cpu().numpy()
        options = search.SelectiveSearchOptions(strategy="fast", max_boxes=self.num_regions, seed=0)
        boxes = torch.from_numpy(search.selective_search(content, options)).float().to(canvas.device)
        return boxes + boxes.new_tensor([fit.left, fit.top] * 2)


def build_deconvnet(
    labels: tuple[str, ...] | None = None,
    *,
    input_size: int = 224,
    crop_size: int | None = None,
    depth: int = 5,
    width: float = 1.0,
    num_regions: int = 0,
    learned_regions: int = 1,
    loss: str = "cross_entropy",
    class_weights: Sequence[float] = (),
) -> DeconvNet:
    """Build an untrained DeconvNet.

    Args:
        labels: class names, the background first; Pascal VOC's and the background by default.
        input_size: side of the canvas, pixels.
        crop_size: side of what the network takes, pixels, a multiple of 2^depth; the canvas's by default.
        depth: how many of VGG16's five stages there are.
        width: share of the paper's channels.
        num_regions: regions that selective search proposes on each canvas; 0 for the whole canvas alone. The
            paper takes 50.
        learned_regions: crops that each image of a training step gives: the whole canvas, and regions around
            its objects (section 4.3). Take more than one where `num_regions` is above 0.
        loss, class_weights: see `SegmentLossOptions`.

    Raises:
        ValueError: for a configuration that no network can have.
    """
    crop = input_size if crop_size is None else crop_size
    if not 1 <= depth <= len(STAGES):
        raise ValueError(f"depth must be 1 to {len(STAGES)}, got {depth}")
    if crop < 2**depth or crop % 2**depth:
        raise ValueError(f"crop_size must be a multiple of {2**depth} px at depth {depth}, got {crop}")
    if not width > 0:
        raise ValueError(f"width must be above 0, got {width}")
    if num_regions < 0:
        raise ValueError(f"num_regions must not be negative, got {num_regions}")
    if learned_regions < 1:
        raise ValueError(f"learned_regions must be at least 1, got {learned_regions}")
    return DeconvNet(
        labels or SEGMENT_VOC_LABELS,
        input_size=input_size,
        crop_size=crop,
        depth=depth,
        width=width,
        num_regions=num_regions,
        learned_regions=learned_regions,
        loss_options=SegmentLossOptions(loss, tuple(class_weights)),
    )
