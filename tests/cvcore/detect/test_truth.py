from __future__ import annotations

import torch

from cvcore.detect.truth import Truth


def test_padding_keeps_each_images_boxes_in_order() -> None:
    image_index = torch.tensor([2, 0, 2, 2, 0])
    boxes = torch.arange(20.0).view(5, 4)
    padded = Truth(boxes, torch.arange(5), image_index).padded(4)
    assert padded.valid.sum(dim=1).tolist() == [2, 0, 3, 0]
    assert padded.label_ids.tolist() == [[1, 4, 0], [0, 0, 0], [0, 2, 3], [0, 0, 0]]
    for image, own in enumerate(Truth(boxes, torch.arange(5), image_index).of_images(4)):
        assert torch.equal(padded.boxes[image][padded.valid[image]], own.boxes)
        assert torch.equal(padded.label_ids[image][padded.valid[image]], own.label_ids)
    assert (padded.boxes[~padded.valid] == 0).all()


def test_padding_a_batch_without_boxes() -> None:
    nothing = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    padded = nothing.padded(3)
    assert padded.boxes.shape == (3, 1, 4)
    assert padded.valid.tolist() == [[False]] * 3
