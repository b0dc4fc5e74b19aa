"""Views: a box bounds the colour that it bounded before, whatever happened to the image."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from cvcore.train.augment import AugmentOptions, augment
from cvcore.train.draws import DrawsFrom
from cvcore.train.mosaic import mosaic
from cvcore.train.transforms import Jitter, quarters_turned
from cvcore.train.views import View
from cvcore.types import Augmentation

STEPS = get_args(Augmentation)
MOVES: tuple[Augmentation, ...] = ("flip", "turn", "jitter", "crop", "zoom")
RED, GREEN = 0, 1


def make_view(height: int = 96, width: int = 96, *, with_proposals: bool = False) -> View:
    """A red and a green rectangle on black, and their exact boxes and masks."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    canvas[10:40, 5:50, RED] = 255
    canvas[50:86, 40:70, GREEN] = 255
    boxes = torch.tensor([[5.0, 10.0, 50.0, 40.0], [40.0, 50.0, 70.0, 86.0]])
    proposals = torch.cat([boxes, torch.tensor([[0.0, 0.0, 1.0, 1.0]])]) if with_proposals else None
    masks = torch.from_numpy((canvas[..., :2] > 0).astype(np.uint8)).permute(2, 0, 1).contiguous()
    return View(canvas, boxes, torch.tensor([RED, GREEN]), proposals, masks)


def colour_bounds(canvas: Any, channel: int) -> list[int] | None:
    rows, columns = np.nonzero(canvas[..., channel] > 127)
    if not len(rows):
        return None
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def draw(steps: tuple[Augmentation, ...], seed: int, view: View | None = None, **options: Any) -> View:
    view = view or make_view()
    others = [make_view()] * 3 if "mosaic" in steps else []
    return augment(view, AugmentOptions(steps, **options), np.random.default_rng(seed), others=others)


@pytest.mark.parametrize(
    "steps",
    [("flip",), ("turn",), ("jitter",), ("crop",), ("zoom",), ("zoom", "crop", "flip"), MOVES],
    ids="+".join,
)
def test_a_box_still_bounds_its_colour(steps: tuple[Augmentation, ...]) -> None:
    seen = 0
    for seed in range(25):
        view = draw(steps, seed, fill=0, min_visible=0.0)
        for box, channel in zip(view.boxes, view.label_ids.tolist(), strict=True):
            found = colour_bounds(view.canvas, channel)
            assert found is not None
            # A step that resamples spreads an edge over two pixels, one of an enlarged image over more.
            assert found == pytest.approx(box.tolist(), abs=2.6 if set(steps) - {"flip", "turn"} else 0)
            seen += 1
    assert seen >= 25


@pytest.mark.parametrize(
    "steps",
    [("flip",), ("turn",), ("jitter",), ("crop",), ("zoom",), ("mosaic",), ("zoom", "crop", "flip"), MOVES],
    ids="+".join,
)
def test_a_mask_still_covers_its_colour(steps: tuple[Augmentation, ...]) -> None:
    seen = 0
    for seed in range(25):
        view = draw(steps, seed, fill=0, min_visible=0.0)
        assert view.masks is not None
        assert view.masks.shape == (len(view.boxes), 96, 96)
        for channel in (RED, GREEN):
            of_colour = view.label_ids == channel
            covered = view.masks[of_colour].any(dim=0).numpy()
            shown = view.canvas[..., channel] > 127
            if covered.sum() < 100:
                continue
            assert (covered & shown).sum() >= 0.8 * (covered | shown).sum()
            seen += 1
    assert seen >= 25


@pytest.mark.parametrize("steps", [(step,) for step in STEPS] + [STEPS], ids="+".join)
def test_boxes_stay_on_the_canvas_with_an_area_and_their_labels(steps: tuple[Augmentation, ...]) -> None:
    for seed in range(20):
        view = draw(steps, seed)
        assert view.canvas.shape == (96, 96, 3)
        assert view.canvas.dtype == np.uint8
        assert view.canvas.flags["C_CONTIGUOUS"]
        assert len(view.boxes) == len(view.label_ids)
        assert (view.boxes >= 0).all()
        assert (view.boxes <= 96).all()
        assert (view.boxes[:, 2:] - view.boxes[:, :2] >= 2).all()


@pytest.mark.parametrize("steps", [(step,) for step in STEPS] + [STEPS], ids="+".join)
def test_views_follow_their_seed_alone(steps: tuple[Augmentation, ...]) -> None:
    torch.manual_seed(1)
    first = [draw(steps, seed) for seed in range(6)]
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = [draw(steps, seed) for seed in range(6)]
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.canvas, other.canvas)
        assert torch.equal(one.boxes, other.boxes)
    assert len({view.canvas.tobytes() for view in first}) > 1


def test_another_threads_draws_change_no_view_and_are_changed_by_none() -> None:
    def drawn() -> list[bytes]:
        return [draw(STEPS, seed).canvas.tobytes() for seed in range(8)]

    expected, found = drawn(), []
    thread = threading.Thread(target=lambda: found.extend(drawn()))
    torch.manual_seed(7)
    alone = [torch.rand(3) for _ in range(200)]
    torch.manual_seed(7)
    thread.start()
    beside = [torch.rand(3) for _ in range(200)]
    thread.join()
    assert found == expected
    assert torch.equal(torch.stack(alone), torch.stack(beside))


def test_flipped_twice_is_as_before() -> None:
    view = make_view()
    image = tv_tensors.Image(torch.from_numpy(view.canvas).permute(2, 0, 1))
    boxes = tv_tensors.BoundingBoxes(view.boxes, format="XYXY", canvas_size=(96, 96))
    flip = v2.RandomHorizontalFlip(1.0)
    once = flip(image, boxes)
    assert not torch.equal(once[0], image)
    twice = flip(*once)
    assert torch.equal(twice[0], image)
    assert torch.equal(twice[1], boxes)


def test_flip_mirrors_about_half_of_the_views() -> None:
    start = make_view().boxes.tolist()
    mirrored = sum(draw(("flip",), seed).boxes.tolist() != start for seed in range(60))
    assert 15 < mirrored < 45


def test_four_quarters_are_none() -> None:
    boxes = tv_tensors.BoundingBoxes(make_view().boxes, format="XYXY", canvas_size=(96, 80))
    assert torch.equal(quarters_turned(boxes, 4), boxes)
    once = quarters_turned(boxes, 1)
    assert once.canvas_size == (80, 96)
    assert once[0].tolist() == [10.0, 30.0, 40.0, 75.0]


def test_a_canvas_that_is_not_square_is_turned_by_halves() -> None:
    view = make_view(96, 120)
    half = [[70.0, 56.0, 115.0, 86.0], [50.0, 10.0, 80.0, 46.0]]
    found = [draw(("turn",), seed, view).boxes.tolist() for seed in range(12)]
    assert all(boxes in (view.boxes.tolist(), half) for boxes in found)
    assert half in found


def test_colours_move_no_box() -> None:
    for step in ("hsv", "colour"):
        view = draw((step,), 3)
        assert view.boxes.tolist() == make_view().boxes.tolist()
        assert not np.array_equal(view.canvas, make_view().canvas)


def test_boxes_pushed_off_the_canvas_are_lost_and_others_clipped() -> None:
    jitter = Jitter(min_zoom=1.0, max_zoom=1.0, min_visible=0.5, fill=128)
    boxes = tv_tensors.BoundingBoxes(make_view().boxes, format="XYXY", canvas_size=(96, 96))
    moved = jitter.transform(boxes, {"size": (96, 96), "top": 0, "left": -35})
    assert moved.tolist() == [[0.0] * 4, [5.0, 50.0, 35.0, 86.0]]
    moved = jitter.transform(boxes, {"size": (96, 96), "top": -25, "left": 0})
    assert moved.tolist() == [[5.0, 0.0, 50.0, 15.0], [40.0, 25.0, 70.0, 61.0]]


def test_a_crop_keeps_the_boxes_whose_centres_it_sees() -> None:
    kept = [draw(("crop",), seed).label_ids.tolist() for seed in range(30)]
    assert [RED, GREEN] in kept
    assert [RED] in kept
    assert [] not in kept


@pytest.mark.parametrize("steps", [(step,) for step in STEPS] + [STEPS], ids="+".join)
def test_an_image_without_objects(steps: tuple[Augmentation, ...]) -> None:
    empty = View(
        np.zeros((32, 32, 3), dtype=np.uint8),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        masks=torch.zeros(0, 32, 32, dtype=torch.uint8),
    )
    view = augment(empty, AugmentOptions(steps), np.random.default_rng(0), others=[empty] * 3)
    assert view.boxes.shape == (0, 4)
    assert view.label_ids.shape == (0,)
    assert view.masks is not None
    assert view.masks.shape == (0, 32, 32)


@pytest.mark.parametrize("steps", [MOVES, STEPS], ids="+".join)
def test_given_regions_go_where_the_boxes_go(steps: tuple[Augmentation, ...]) -> None:
    """Boxes are among the regions here, so that what is left of them is too."""
    view = make_view(with_proposals=True)
    for seed in range(15):
        drawn = augment(view, AugmentOptions(steps), np.random.default_rng(seed), others=[view] * 3)
        assert drawn.proposals is not None
        known = drawn.proposals.tolist()
        assert all(box in known for box in drawn.boxes.tolist())
        assert (drawn.proposals[:, 2:] - drawn.proposals[:, :2] >= 2).all()


def test_a_mosaic_shows_four_views_each_in_its_part() -> None:
    views = [
        View(
            np.full((80, 80, 3), 60 * k, dtype=np.uint8), torch.tensor([[0.0, 0, 80, 80]]), torch.tensor([k])
        )
        for k in range(4)
    ]
    found = mosaic(views, np.random.default_rng(4), min_visible=0.0)
    assert found.label_ids.tolist() == [0, 1, 2, 3]
    for box, label in zip(found.boxes.round().int().tolist(), found.label_ids.tolist(), strict=True):
        rows, columns = np.nonzero(found.canvas[..., 0] == 60 * label)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box


def test_a_mosaic_carries_boxes_to_within_two_pixels() -> None:
    view, empty = (
        make_view(),
        View(np.zeros((96, 96, 3), dtype=np.uint8), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)),
    )
    seen = 0
    for seed in range(30):
        tiles = [empty] * 4
        tiles[seed % 4] = view
        found = mosaic(tiles, np.random.default_rng(seed), min_visible=0.0)
        for box, channel in zip(found.boxes, found.label_ids.tolist(), strict=True):
            assert colour_bounds(found.canvas, channel) == pytest.approx(box.tolist(), abs=2)
            seen += 1
    assert seen > 20


@pytest.mark.parametrize(
    "views", [[make_view()], [make_view(), make_view(), make_view(), make_view(96, 80)]], ids=["one", "sizes"]
)
def test_a_mosaic_needs_four_views_of_one_size(views: list[View]) -> None:
    with pytest.raises(ValueError, match="joins 4 views of one size, got"):
        mosaic(views, np.random.default_rng(0), min_visible=0.0)


def test_the_end_of_a_run_goes_half_as_far() -> None:
    calm = AugmentOptions(("mosaic", "jitter"), min_zoom=0.25, max_zoom=4.0).calmer()
    assert calm.steps == ("jitter",)
    assert (calm.min_zoom, calm.max_zoom, calm.strength) == (0.5, 2.0, 0.5)


DRAWS: dict[str, Callable[[], torch.Tensor]] = {
    "rand": lambda: torch.rand(2),
    "randint": lambda: torch.randint(0, 100, (2,)),
    "randperm": lambda: torch.randperm(5),
    "uniform_": lambda: torch.empty(2).uniform_(),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_come_from_the_generator(name: str) -> None:
    with DrawsFrom(torch.Generator().manual_seed(5)):
        inside = DRAWS[name]()
    torch.manual_seed(5)
    assert torch.equal(inside, DRAWS[name]())
