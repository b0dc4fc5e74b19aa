"""A small sibling of every detector through a training run without Ray, its last step, and its checkpoint."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import squeezenet1_1

from cvcore.catalog import CATALOG, read_shipped
from cvcore.checkpoint import read_checkpoint
from cvcore.detect.base import Detector
from cvcore.errors import ModelError, SpecError, WeightsError
from cvcore.image.fit import plan_fit
from cvcore.models import ModelSource, build_model
from cvcore.scenes import SceneSpec, write_scenes
from cvcore.train.batches import ALONE, plain_view
from cvcore.train.epochs import START, only_worker
from cvcore.types import DetectOptions
from jobs.train import run_train
from jobs.train_catalog import TRAIN_SPECS, build_train_spec
from jobs.train_detector import DetectorRun, check_detector_data, prepare_run
from jobs.train_run import average_decay, keep_epoch, keep_finish
from jobs.train_spec import DetectorTrainSpec
from jobs.train_state import CHECKPOINT_NAME, SavedRun, load_run
from jobs.train_views import run_options

REGIONS = {"backbone": "squeezenet1_1", "shortest_edge": 96, "canvas": [96, 96], "head_width": 16}
FEW = {"max_proposals": 40}
SMALL: dict[str, dict[str, Any]] = {
    "yolov1": {"model": "yolov1", "width": 0.02, "input_size": 128},
    "yolov2": {"model": "yolov2_tiny", "width": 0.1, "input_size": 96, "multi_scale": True, "anchors": "fit"},
    "yolov3": {"model": "yolov3", "width": 0.05, "input_size": 96},
    "ssd300": {"model": "ssd300", "width": 0.05, "input_size": 96, "backbone": "squeezenet1_1"},
    "rcnn": {
        "model": "rcnn",
        "backbone": "squeezenet1_1",
        "options": {"crop_size": 32, "canvas": [96, 96], **FEW},
    },
    "fast_rcnn": {"model": "fast_rcnn", "options": {**REGIONS, **FEW, "regions_per_image": 16}},
    "faster_rcnn": {
        "model": "faster_rcnn",
        "options": {**REGIONS, "rpn_width": 16, "proposals": 20, "training_proposals": 40},
    },
    "mask_rcnn": {
        "model": "mask_rcnn",
        "input_size": 96,
        "options": {"head_width": 16, "rpn_width": 16, "proposals": 20, "mask_width": 8, "mask_convs": 1},
    },
    "tiny_masks": {
        "model": "tiny_masks",
        "width": 4,
        "input_size": 96,
        "options": {"mask_width": 8, "mask_convs": 1},
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    spec = SceneSpec(min_side=200, max_side=240)
    write_scenes(folder / "train", num_scenes=6, seed=300, spec=spec)
    write_scenes(folder / "val", num_scenes=2, seed=900, spec=spec)
    return folder


def make_spec(data: Path, out: Path, name: str, **changes: Any) -> DetectorTrainSpec:
    settings = {"data": str(data), "out": str(out), "epochs": 1, "batch_size": 2, **SMALL[name], **changes}
    return DetectorTrainSpec.model_validate(settings)


def one_epoch(run: DetectorRun) -> SavedRun:
    progress = run.progress(run.network(), bf16=False)
    (report,) = run.reports(progress, first_epoch=0, standing=START, share=only_worker)
    return keep_epoch(run, progress, report, None)


def test_samples_hold_their_masks_on_the_canvas_and_figures_are_of_masks_too(
    data: Path, tmp_path: Path
) -> None:
    run = DetectorRun(make_spec(data, tmp_path, "mask_rcnn"), ALONE)
    train, _, _ = prepare_run(run.spec)
    for sample in train.samples:
        masks = plain_view(sample).masks
        assert masks is not None
        assert masks.shape == (len(sample.boxes), 96, 96)
        for mask, box in zip(masks, sample.boxes, strict=True):
            columns, rows = (torch.nonzero(mask.any(dim=k))[:, 0] for k in (0, 1))
            bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            torch.testing.assert_close(torch.stack(bounds).float(), box, atol=1.5, rtol=0)
    saved = one_epoch(run)
    assert {"mask_ap", "mask_ap50", "ap50"} <= saved.history[0].held_out.keys()


def test_a_mask_head_learns_beside_the_shipped_detector_alone(data: Path, tmp_path: Path) -> None:
    changes = {"width": None, "input_size": None, "options": {}, "init": "tiny", "freeze": "detector"}
    run = DetectorRun(make_spec(data, tmp_path, "tiny_masks", **changes), ALONE)
    one_epoch(run)
    after = read_checkpoint((tmp_path / CHECKPOINT_NAME).read_bytes()).state
    tiny = read_checkpoint(read_shipped(CATALOG["tiny"].weights or "")).state
    assert all(torch.equal(after[f"detector.{key}"], value) for key, value in tiny.items())
    assert after["mask_head.masks.bias"].abs().sum() > 0


def test_what_has_no_masks_cannot_teach_them(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    place = tmp_path / "data" / "train" / "annotations.json"
    document = json.loads(place.read_text())
    whole = document["annotations"][3].pop("segmentation")
    place.write_text(json.dumps(document))
    spec = make_spec(tmp_path / "data", tmp_path / "out", "mask_rcnn")
    with pytest.raises(SpecError, match=r"mask_rcnn learns from masks, and 1 of the .* objects of .*train"):
        check_detector_data(spec)
    check_detector_data(make_spec(tmp_path / "data", tmp_path / "out", "yolov3"))
    wrong = {"size": [whole["size"][0] + 1, whole["size"][1]], "counts": whole["counts"]}
    document["annotations"][3]["segmentation"] = wrong
    place.write_text(json.dumps(document))
    check_detector_data(spec)
    with pytest.raises(SpecError, match=r"\(1 mask\): veedor dataset check --masks says which"):
        prepare_run(spec)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_sibling_trains_and_its_checkpoint_detects(name: str, data: Path, tmp_path: Path) -> None:
    run = DetectorRun(make_spec(data, tmp_path, name), ALONE)
    saved = one_epoch(run)
    assert saved.history[0].loss > 0
    assert 0 < (saved.history[0].learning_rate or 0) <= run.spec.lr
    assert keep_finish(run, saved).finished
    body = (tmp_path / CHECKPOINT_NAME).read_bytes()
    model = build_model(ModelSource("", weights=body))
    assert isinstance(model, Detector)
    assert model.labels == run.model.labels
    spec = model.input_spec
    canvases = torch.randint(0, 256, (2, spec.height, spec.width, 3), dtype=torch.uint8)
    fits = [plan_fit(spec.height, spec.width, spec)] * 2
    assert len(model.predict(canvases, fits, DetectOptions(min_score=0.0))) == 2


def test_canvases_that_memory_has_no_room_for_teach_the_same(data: Path, tmp_path: Path) -> None:
    """Of a network whose proposals are searched for once, and kept."""
    runs = [
        DetectorRun(make_spec(data, tmp_path / str(size), "fast_rcnn", max_cached_bytes=size), ALONE)
        for size in (0, 2**31)
    ]
    first, second = (one_epoch(run).progress["model"] for run in runs)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_what_follows_r_cnns_epochs_is_done_once_though_it_was_cut_off(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path, "rcnn")
    run = DetectorRun(spec, ALONE)
    one_epoch(run)  # and killed here
    before = read_checkpoint((tmp_path / CHECKPOINT_NAME).read_bytes())
    assert not before.state["fitted"]
    saved = load_run(spec)
    assert saved is not None
    assert saved.trained(spec)
    assert not saved.finished

    again = DetectorRun(spec, ALONE)
    keep_finish(again, saved)
    after = (tmp_path / CHECKPOINT_NAME).read_bytes()
    done = read_checkpoint(after)
    assert done.state["fitted"]
    assert done.training["held_out"]["epoch_ap50"] == before.training["held_out"]["ap50"]
    kept = [key for key in before.state if not key.startswith(("fitted", "svm_", "box_"))]
    assert all(torch.equal(before.state[key], done.state[key]) for key in kept)
    finished = load_run(spec)
    assert finished is not None
    keep_finish(again, finished)
    assert (tmp_path / CHECKPOINT_NAME).read_bytes() == after


def test_torchvisions_own_file_needs_no_pin_and_another_one_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is a pickle, which was checked against the published digest when it was fetched."""
    buffer = io.BytesIO()
    torch.manual_seed(3)
    classifier = squeezenet1_1(weights=None).state_dict()
    torch.save(classifier, buffer)
    monkeypatch.setattr("jobs.model_files._read_published", lambda _: buffer.getvalue())
    spec = make_spec(data, tmp_path / "out", "ssd300", init="torchvision://squeezenet1_1")
    check_detector_data(spec)
    model = prepare_run(spec)[2]
    assert torch.equal(model.state_dict()["trunk.features.0.weight"], classifier["features.0.weight"])

    (tmp_path / "w.pth").write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError, match="pickle, which is read only if its digest is pinned"):
        check_detector_data(make_spec(data, tmp_path, "ssd300", init=str(tmp_path / "w.pth")))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("yolov3", {"options": {"depth": 3}}, "has no option 'depth'.*Its options: "),
        ("yolov3", {"backbone": "vgg16"}, "has no option 'backbone'.*Its options: "),
        ("yolov3", {"input_size": 100}, "multiple of 32"),
        ("ssd300", {"backbone": "resnet"}, "must be one of vgg16, squeezenet1_1"),
        ("ssd300", {"freeze": "trunk,norm,extras,offsets,logits"}, "leaves nothing of the Ssd to learn"),
        ("yolov3", {"freeze": "back bone"}, "Did you mean 'backbone'"),
    ],
    ids=["unknown option", "no such option", "canvas", "backbone", "all frozen", "frozen part"],
)
def test_a_configuration_that_no_network_has_is_refused_before_ray(
    name: str, changes: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        run_train(make_spec(data, tmp_path, name, **changes))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("yolov1", {"anchors": "fit"}, "has no anchors to fit"),
        ("ssd300", {"anchors": "fit"}, "has no anchors to fit"),
        ("ssd300", {"multi_scale": True}, "one canvas only"),
        ("yolov3", {"val_split": "train"}, "hold some images out"),
        ("yolov3", {"train_split": "training"}, "has no split 'training'"),
    ],
    ids=["v1's anchors", "SSD's anchors", "SSD's canvas", "nothing held out", "split"],
)
def test_settings_that_a_model_does_not_have_are_refused_before_ray(
    name: str, changes: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        run_train(make_spec(data, tmp_path, name, **changes))


def test_a_mosaic_of_too_few_images_is_refused(data: Path, tmp_path: Path) -> None:
    write_scenes(tmp_path / "few", num_scenes=3, seed=1, spec=SceneSpec(min_side=100, max_side=120))
    spec = make_spec(tmp_path / "few", tmp_path, "yolov3", val_data=str(data / "val"), augment=["mosaic"])
    with pytest.raises(SpecError, match=r"mosaic joins 4 images, .*few has 3: leave it out of augment"):
        run_train(spec)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": ["flip", "color"]}, "augment: there is no step 'color'. Did you mean 'colour'"),
        ({"augment": ["everything"]}, "Steps: flip, turn, jitter, .*; or none of them"),
        ({"min_zoom": 2.0}, "min_zoom 2 is above max_zoom 1.35: swap them"),
        ({"average_decay": 1.0}, "average_decay: .*less than 1"),
        ({"grad_clip": 0}, "grad_clip: .*greater than 0"),
    ],
    ids=["misspelt step", "no step", "range", "average", "clip"],
)
def test_settings_of_the_training_itself_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build_train_spec({"data": "d", "out": "o", **settings}, name="the command line")


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("yolov3", None, ("jitter", "flip", "hsv")),
        ("ssd300", None, ("colour", "zoom", "crop", "flip")),
        ("faster_rcnn", None, ("flip",)),
        ("faster_rcnn", ["mosaic", "turn"], ("mosaic", "turn")),
        ("ssd300", [], ()),
    ],
    ids=["YOLO's paper", "SSD's paper", "R-CNN's paper", "asked for", "none"],
)
def test_views_are_those_of_the_models_paper_unless_asked_otherwise(
    name: str, asked: Any, expected: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    run = DetectorRun(make_spec(data, tmp_path, name, augment=asked), ALONE)
    options = run_options(run.spec, run.model).augment
    assert (options.steps if options else ()) == expected


def test_a_frozen_backbone_is_in_the_checkpoint_as_it_came(data: Path, tmp_path: Path) -> None:
    spec = make_spec(data, tmp_path, "ssd300", freeze="backbone", average_decay=0.5)
    run = DetectorRun(spec, ALONE)
    before = {key: value.clone() for key, value in run.model.state_dict().items()}
    one_epoch(run)
    after = read_checkpoint((tmp_path / CHECKPOINT_NAME).read_bytes()).state
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert same >= {key for key in before if key.startswith("trunk.")}
    assert not same & {"extras.blocks.0.0.weight", "logits.levels.0.weight", "offsets.levels.0.weight"}


def test_a_dataset_of_broken_images_is_refused_with_the_way_to_find_them(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    first = min((folder / "train/images").iterdir())
    first.write_bytes(first.read_bytes()[:2000])
    with pytest.raises(SpecError, match=r"1 of 6 images of .*, train cannot be used .* check --images"):
        DetectorRun(make_spec(folder, tmp_path / "out", "yolov3"), ALONE)


def test_every_family_is_among_those_that_train() -> None:
    assert {recipe["model"] for recipe in SMALL.values()} <= TRAIN_SPECS.keys()


@pytest.mark.parametrize(("steps", "expected"), [(1, 0.0), (10, 0.0), (100, 0.9), (1_000_000, 0.998)])
def test_weights_are_averaged_over_a_tenth_of_a_short_run(steps: int, expected: float) -> None:
    assert average_decay(steps) == pytest.approx(expected)
