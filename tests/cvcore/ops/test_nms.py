"""Class-wise suppression against torchvision's own, and without its package."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torchvision.ops import batched_nms

from cvcore.ops.nms import MAX_SHIFTED, class_wise_nms


@pytest.mark.parametrize("count", [0, 1, 7, 300, MAX_SHIFTED, MAX_SHIFTED + 1, 4000])
@pytest.mark.parametrize("iou", [0.0, 0.45, 1.0])
def test_same_as_torchvision(count: int, iou: float) -> None:
    generator = torch.Generator().manual_seed(count)
    corner = torch.rand(count, 2, generator=generator) * 300  # negative ones mix classes in torchvision
    boxes = torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=generator) * 90], dim=1)
    scores = torch.randperm(count, generator=generator) / max(count, 1)
    label_ids = torch.randint(0, 4, (count,), generator=generator)
    expected = batched_nms(boxes.double(), scores.double(), label_ids, iou)
    found = class_wise_nms(boxes, scores, label_ids, iou)
    assert scores[found].tolist() == sorted(scores[found].tolist(), reverse=True)
    assert sorted(found.tolist()) == sorted(expected.tolist())


def test_a_process_that_infers_does_not_import_torchvision() -> None:
    code = (
        "import sys, torch\n"
        "from cvcore.ops.nms import class_wise_nms\n"
        "import cvcore.detect.yolo\n"
        "boxes = torch.tensor([[0., 0, 9, 9], [1, 1, 9, 9], [0, 0, 9, 9]])\n"
        "print(class_wise_nms(boxes, torch.tensor([.5, .9, .7]), torch.tensor([0, 0, 1]), 0.5).tolist())\n"
        "print([name for name in ('torchvision', 'torch._dynamo') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[1, 2]", "[]"]
