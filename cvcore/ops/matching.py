"""Which reference box answers for which ground truth (SSD, section 2.2, "Matching strategy")."""

from __future__ import annotations

import torch
from torch import Tensor

from cvcore.ops.boxes import paired_iou

UNMATCHED = -1


@torch.no_grad()
def match_references(truth: Tensor, valid: Tensor, references: Tensor, *, min_iou: float) -> Tensor:
    """Match a batch's references to its ground truth.

    Every ground truth first gets a reference of its own, pairs with the highest IoU first, as in the authors'
    code: none loses its reference to another. Then every other reference whose IoU with some ground truth is
    above `min_iou` is matched to the one that it overlaps most.

    Args:
        truth: (B, M, 4) float, xyxy, pixels.
        valid: (B, M) bool; other rows are padding.
        references: (N, 4) float, xyxy, pixels, the same for all images.
        min_iou: see above.

    Returns:
        (B, N) int64, the row of `truth` that each reference answers for, or UNMATCHED. A ground truth without
        area, or beyond all references, gets none.
    """
    if not truth.shape[1]:
        return torch.full((len(truth), len(references)), UNMATCHED, device=truth.device)
    iou = paired_iou(truth[:, :, None], references).masked_fill(~valid[:, :, None], 0.0)
    best, row = iou.max(dim=1)
    matched = torch.where(best > min_iou, row, UNMATCHED)
    return _give_each_its_own(iou, matched)


def _give_each_its_own(iou: Tensor, matched: Tensor) -> Tensor:
    """Overwrite `matched` so that each row of (B, M, N) `iou` has one reference, highest IoU first.

    M - 1 others can take references away, so that each row's M best are candidates enough.
    """
    batch, num_truth, num_references = iou.shape
    width = min(num_truth, num_references)
    values, indices = iou.topk(width, dim=2)  # (B, M, K)
    images = torch.arange(batch, device=iou.device)
    matched = matched.clone()
    for _ in range(width):
        score, place = values.flatten(1).max(dim=1)
        row = place // width
        reference = indices[images, row, place % width]
        given = torch.where(score > 0, row, matched[images, reference])
        matched[images, reference] = given
        values = values.masked_fill(indices == reference[:, None, None], 0.0)
        values[images, row] = 0.0
    return matched
