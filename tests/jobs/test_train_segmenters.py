"""A small sibling of every segmenter through a training run without Ray, and its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import squeezenet1_1

from cvcore.checkpoint import save_checkpoint
from cvcore.datasets.mask_files import IGNORED
from cvcore.errors import ModelError, SpecError
from cvcore.image.fit import plan_fit
from cvcore.models import ModelSource, build_model
from cvcore.segment.base import Segmenter
from cvcore.segment.unet import build_unet
from cvcore.train.augment import AugmentOptions, augment_mask
from cvcore.train.batches import ALONE
from cvcore.train.drawn_masks import draw_mask
from cvcore.train.epochs import START, only_worker
from cvcore.train.masks import MaskSample, mask_batches
from jobs.train_catalog import build_train_spec
from jobs.train_run import keep_epoch, keep_finish
from jobs.train_segmenter import SegmenterRun, check_segmenter_data
from jobs.train_spec import SegmenterTrainSpec
from jobs.train_state import CHECKPOINT_NAME, SavedRun

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"model": "unet", "width": 4, "depth": 2, "loss": "border+dice", "options": {"padded": True}},
    "fcn8s": {"model": "fcn8s", "backbone": "squeezenet1_1", "loss": "focal"},
    "fcn32s": {"model": "fcn32s", "backbone": "squeezenet1_1"},
    "deconvnet": {"model": "deconvnet", "width": 0.05, "depth": 2},
}


def draw_discs(folder: Path, name: str, seed: int) -> None:
    """A bright disc on a dark ground, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :64]
    disc = (y - rng.integers(12, 36)) ** 2 + (x - rng.integers(12, 52)) ** 2 < 100
    gray = np.where(disc, 200, 40) + rng.integers(-20, 20, disc.shape)
    for kind, values in (("images", gray), ("masks", disc * 255)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(folder / kind / f"{name}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discs")
    for k in range(6):
        draw_discs(folder / ("val" if k > 3 else "train"), str(k), k)
    return folder


def make_spec(data: Path, out: Path, name: str, **changes: Any) -> SegmenterTrainSpec:
    small = {"input_size": 64, "epochs": 1, "batch_size": 2, **SMALL[name], **changes}
    return SegmenterTrainSpec.model_validate({"data": str(data), "out": str(out), **small})


def train(run: SegmenterRun) -> SavedRun:
    progress, saved = run.progress(run.network(), bf16=False), None
    for report in run.reports(progress, first_epoch=0, standing=START, share=only_worker):
        saved = keep_epoch(run, progress, report, saved)
    assert saved is not None
    return keep_finish(run, saved)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_sibling_trains_and_its_checkpoint_segments(name: str, data: Path, tmp_path: Path) -> None:
    run = SegmenterRun(make_spec(data, tmp_path, name), ALONE)
    saved = train(run)
    assert saved.history[0].loss > 0
    assert 0 <= saved.history[0].held_out["miou"] <= 1
    assert saved.details["data"] == {"images": 4, "failures": {}}
    model = build_model(ModelSource("", weights=(tmp_path / CHECKPOINT_NAME).read_bytes()))
    assert isinstance(model, Segmenter)
    assert model.labels == ("background", "object")
    assert model.config == run.model.config
    (found,) = model.predict(
        torch.zeros(1, 64, 64, 3, dtype=torch.uint8), [plan_fit(30, 90, model.input_spec)]
    )
    assert found.shape == (30, 90)


def test_discs_are_learnt(data: Path, tmp_path: Path) -> None:
    changes = {"epochs": 12, "lr": 5e-3, "options": {"padded": True, "norm": True}, "loss": "dice"}
    saved = train(SegmenterRun(make_spec(data, tmp_path, "unet", **changes), ALONE))
    assert saved.history[-1].loss < saved.history[0].loss
    assert saved.standing.best_score > 0.7


@pytest.mark.parametrize("cached", [0, 2**31], ids=["read again", "kept"])
def test_runs_repeat(cached: int, data: Path, tmp_path: Path) -> None:
    sizes = (2**31, cached)
    runs = [
        SegmenterRun(make_spec(data, tmp_path / str(k), "unet", max_cached_bytes=size), ALONE)
        for k, size in enumerate(sizes)
    ]
    first, second = (train(run).progress["model"] for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_it_starts_from_a_checkpoint_or_a_classifier(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = build_unet(("a", "b", "c"), width=4, depth=2, padded=True, input_size=64)
    body = save_checkpoint(
        before.state_dict(), model="unet", config=before.config, labels=before.labels, training={}
    )
    (tmp_path / "before.safetensors").write_bytes(body)
    spec = make_spec(data, tmp_path, "unet", init=str(tmp_path / "before.safetensors"))
    check_segmenter_data(spec)
    run = SegmenterRun(spec, ALONE)
    key = "network.down.0.0.weight"
    assert torch.equal(run.model.state_dict()[key], before.state_dict()[key])

    state = squeezenet1_1(weights=None).state_dict()
    torch.save(state, tmp_path / "squeeze.pt")
    spec = make_spec(data, tmp_path, "unet", init=str(tmp_path / "squeeze.pt"))
    with pytest.raises((ModelError, SpecError)):
        check_segmenter_data(spec)


def test_a_frozen_backbone_stays_and_all_else_learns(data: Path, tmp_path: Path) -> None:
    run = SegmenterRun(make_spec(data, tmp_path, "fcn32s", freeze="backbone"), ALONE)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    learns = {key: value.requires_grad for key, value in run.model.named_parameters()}
    learnt, frozen = ({key for key, own in learns.items() if own is kind} for kind in (True, False))
    train(run)
    changed = {key for key, value in run.model.state_dict().items() if not torch.equal(value, before[key])}
    assert learnt & changed
    assert frozen
    assert not frozen & changed
    assert {key for key in learns if key.startswith(run.model.backbone_parts)} <= frozen


def test_a_u_net_has_no_backbone_to_freeze(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the UNet has no backbone to freeze: say a number of convolutions"):
        check_segmenter_data(make_spec(data, tmp_path, "unet", freeze="backbone"))
    check_segmenter_data(make_spec(data, tmp_path, "unet", freeze="1"))


@pytest.mark.parametrize("step", ["crop", "zoom", "mosaic"])
def test_steps_that_carry_no_masks_are_refused(step: str) -> None:
    content = {"data": "x", "out": "y", "model": "unet", "augment": ["flip", step]}
    with pytest.raises(SpecError, match=f"{step}: masks are not carried along by it"):
        build_train_spec(content, name="the command line")


def test_images_of_background_alone_and_smaller_than_the_network_reads_teach_and_are_segmented(
    tmp_path: Path,
) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for k, size in enumerate(((3, 2), (1, 1), (40, 7), (64, 64))):
        Image.new("RGB", size, (90, 10 * k, 30)).save(tmp_path / "data" / "images" / f"{k}.png")
        Image.new("L", size).save(tmp_path / "data" / "masks" / f"{k}.png")
    (tmp_path / "data" / "dataset.yaml").write_text("names: [background, object]\n")
    whole = {"val_data": str(tmp_path / "data")}
    run = SegmenterRun(make_spec(tmp_path / "data", tmp_path, "unet", options={}, **whole), ALONE)
    assert run.model.config["padded"] is False
    saved = train(run)
    assert np.isfinite(saved.history[0].loss)
    assert saved.history[0].held_out["pixel_accuracy"] >= 0
    fits = [plan_fit(height, width, run.model.input_spec) for width, height in ((3, 2), (1, 1))]
    maps = run.model.eval().predict(torch.zeros(2, 64, 64, 3, dtype=torch.uint8), fits)
    assert [tuple(each.shape) for each in maps] == [(2, 3), (1, 1)]


def test_views_carry_the_mask_along() -> None:
    y, x = np.mgrid[:40, :40]
    disc = ((y - 15) ** 2 + (x - 22) ** 2 < 80).astype(np.uint8)
    canvas = np.repeat((disc * 255)[:, :, None], 3, axis=2)
    spec = build_unet(width=1, input_size=40).input_spec
    fit = plan_fit(40, 40, spec)
    sample = MaskSample("a", canvas, draw_mask(disc, fit, spec, outside=IGNORED), fit, disc)
    options = AugmentOptions(("flip", "turn", "jitter"))
    for seed in range(8):
        pixels, mask = augment_mask(canvas, sample.mask, options, np.random.default_rng(seed))
        seen = mask != 255
        agree = (pixels[..., 0] > 127) == (mask == 1)
        assert agree[seen].mean() > 0.97
    batch = next(mask_batches([sample, sample], epoch=0, seed=0, batch_size=2, options=None))
    assert batch.canvases.shape == (2, 40, 40, 3)
    assert torch.equal(batch.masks[0], torch.from_numpy(disc))


def test_masks_on_the_canvas_end_with_the_image() -> None:
    spec = build_unet(width=1, input_size=32).input_spec
    fit = plan_fit(10, 20, spec)
    truth = np.zeros((10, 20), np.uint8)
    truth[:, 10:] = 1
    found = draw_mask(truth, fit, spec, outside=IGNORED)
    assert (found[: fit.top] == 255).all()
    assert (found[fit.top : fit.top + fit.content_height, :16] == 0).all()
    assert (found[fit.top : fit.top + fit.content_height, 16:] == 1).all()


def test_data_that_no_worker_could_train_with(data: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="both 'train'"):
        check_segmenter_data(make_spec(data, tmp_path, "unet", val_split="train"))
    with pytest.raises(SpecError, match="no split 'test'"):
        check_segmenter_data(make_spec(data, tmp_path, "unet", val_split="test"))
    with pytest.raises(ModelError, match="no loss 'iou'"):
        check_segmenter_data(make_spec(data, tmp_path, "unet", loss="iou"))
    with pytest.raises(SpecError, match="5 workers need as many images"):
        check_segmenter_data(make_spec(data, tmp_path, "unet", num_workers=5))
    broken = tmp_path / "broken"
    for k in range(4):
        draw_discs(broken / ("val" if k > 1 else "train"), str(k), k)
    (broken / "train" / "masks" / "0.png").write_bytes(b"no mask")
    with pytest.raises(SpecError, match=r"1 of 2 images of .* cannot be used \(1 mask\): .* --masks says"):
        SegmenterRun(make_spec(broken, tmp_path, "unet"), ALONE)


def test_the_spec_is_chosen_by_the_model(data: Path) -> None:
    content = {"data": str(data), "out": "out", "model": "fcn16s", "width": 0.1}
    spec = build_train_spec(content, name="it")
    assert isinstance(spec, SegmenterTrainSpec)
    assert spec.config == {"width": 0.1}
    with pytest.raises(SpecError, match="anchors"):
        build_train_spec({**content, "anchors": "fit"}, name="it")
