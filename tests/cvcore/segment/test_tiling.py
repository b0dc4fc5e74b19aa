from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from cvcore.segment.base import Segmenter
from cvcore.segment.deconvnet import build_deconvnet
from cvcore.segment.fcn import build_fcn
from cvcore.segment.losses import SegmentLossOptions
from cvcore.segment.tiles import TileOptions, blend_weights, tile_spans
from cvcore.segment.tiling import segment_tiled, segment_tiles
from cvcore.segment.unet import build_unet
from cvcore.types import InputSpec


class Brightness(Segmenter):
    """Says of each pixel whether it is bright; and how often it was asked, and for how much at most."""

    stride_px = 4

    def __init__(self) -> None:
        super().__init__(("dark", "bright"), input_spec=InputSpec(32, 32), loss_options=SegmentLossOptions())
        self.one = torch.nn.Parameter(torch.ones(()))
        self.largest = 0

    def forward(self, images: Tensor) -> Tensor:
        self.largest = max(self.largest, images.shape[2] * images.shape[3])
        bright = images.mean(dim=1, keepdim=True)
        return torch.cat([-bright, bright], dim=1) * self.one


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def whole(model: Segmenter, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    with torch.inference_mode():
        logits = model(model.preprocess(torch.from_numpy(pixels)[None]))
    found: npt.NDArray[np.uint8] = logits[0].argmax(dim=0).to(torch.uint8).numpy()
    return found


@pytest.mark.parametrize("size", [1, 15, 16, 17, 63, 64, 65, 200])
@pytest.mark.parametrize(("overlap", "stride"), [(0, 1), (8, 1), (5, 4), (4, 4)])
def test_spans_cover_the_axis_and_weights_add_up_to_one(size: int, overlap: int, stride: int) -> None:
    spans = tile_spans(size, tile_px=16, overlap_px=overlap, stride_px=stride)
    total, covered = np.zeros(size), np.zeros(size, int)
    for index, span in enumerate(spans):
        assert span.start % stride == 0
        assert len(span) <= 16
        total[span.start : span.stop] += blend_weights(spans, index, margin_px=2)
        covered[span.start : span.stop] += 1
    np.testing.assert_allclose(total, 1, rtol=1e-6)
    assert covered.max() <= 2
    assert all(span.shared >= overlap for span in spans[1:])


def test_pixels_near_a_cut_weigh_nothing() -> None:
    spans = tile_spans(50, tile_px=20, overlap_px=8)
    middle = blend_weights(spans, 1, margin_px=3)
    assert not middle[:3].any()
    assert not middle[-3:].any()
    assert (middle[5:-5] == 1).all()
    assert blend_weights(spans, 0, margin_px=3)[0] == 1


@pytest.mark.parametrize(
    ("build", "tile", "overlap"),
    [
        (lambda: build_unet(("a", "b", "c"), width=4, depth=2, padded=True), 104, 52),
        (lambda: build_unet(("a", "b", "c"), width=4, depth=2), 120, 56),
        (lambda: build_unet(("a", "b"), width=4, depth=1, padded=True, norm=True), 43, 20),
    ],
    ids=["padded", "unpadded", "normed, odd tile"],
)
@pytest.mark.parametrize("size", [(150, 173), (60, 200)])
def test_tiled_is_the_same_as_whole(build: Any, tile: int, overlap: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = build().eval()
    assert overlap >= 2 * model.margin_px
    pixels = picture(*size)
    found = segment_tiled(model, pixels, TileOptions(tile, overlap))
    expected = whole(model, pixels)
    assert len(np.unique(expected)) > 1
    assert (found != expected).mean() < 1e-4  # logits that are equal but for rounding


def test_fcn_tiled_is_the_same_as_whole() -> None:
    torch.manual_seed(0)
    model = build_fcn(("a", "b", "c"), backbone="squeezenet1_1", stride=8).eval()
    for layer in (model.score, model.skips["8"], model.skips["16"]):
        torch.nn.init.normal_(layer.weight)  # type: ignore[arg-type]
    overlap = 2 * model.margin_px
    pixels = picture(64, 3 * overlap)
    found = segment_tiled(model, pixels, TileOptions(2 * overlap + 64, overlap))
    assert (found != whole(model, pixels)).mean() < 1e-4


def test_with_too_little_overlap_results_are_near() -> None:
    torch.manual_seed(0)
    model = build_unet(("a", "b"), width=4, depth=2, padded=True).eval()
    pixels = picture(130, 130)
    found = segment_tiled(model, pixels, TileOptions(48, 12))
    assert (found == whole(model, pixels)).mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (5, 90), (40, 33)])
def test_pointwise_models_do_not_notice_tiles(size: tuple[int, int]) -> None:
    model = Brightness().eval()
    pixels = picture(*size)
    found = segment_tiled(model, pixels, TileOptions(16, 4))
    assert model.largest <= 16 * 16
    np.testing.assert_array_equal(found, whole(model, pixels))


def test_networks_of_one_size_see_mirrored_tiles() -> None:
    torch.manual_seed(0)
    model = build_deconvnet(("a", "b"), input_size=16, depth=2, width=0.05).eval()
    assert segment_tiled(model, picture(20, 37), TileOptions(16, 4)).shape == (20, 37)


def test_nothing_larger_than_a_tile_is_read_or_looked_at() -> None:
    model, options = Brightness().eval(), TileOptions(64, 8)
    rng = np.random.default_rng(0)
    shapes = []

    def read(rows: slice, columns: slice) -> npt.NDArray[np.uint8]:
        shapes.append((rows.stop - rows.start, columns.stop - columns.start))
        return rng.integers(0, 256, (*shapes[-1], 3), dtype=np.uint8)

    bands = list(segment_tiles(model, read, height=2000, width=100, options=options))
    assert max(max(shape) for shape in shapes) == 64
    assert model.largest == 64 * 64
    starts = [start for start, _ in bands]
    assert starts == np.cumsum([0, *(len(band) for _, band in bands[:-1])]).tolist()
    assert starts[-1] + len(bands[-1][1]) == 2000
    assert max(len(band) for _, band in bands) <= 64


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [(0, 0, "at least 1 px"), (64, 33, "half of the tile's 64 px"), (64, -1, "0 to half")],
)
def test_wrong_options(tile: int, overlap: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TileOptions(tile, overlap)


def test_tiles_too_small_for_the_stride() -> None:
    with pytest.raises(ValueError, match="multiples of 32 px: take 128 px"):
        tile_spans(500, tile_px=60, overlap_px=32, stride_px=32)
    assert len(tile_spans(500, tile_px=128, overlap_px=32, stride_px=32)) == 5
