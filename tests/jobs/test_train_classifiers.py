"""Training runs of classifiers and localisers without Ray, what they leave, and what they refuse."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torchvision.models import squeezenet1_1

from cvcore.classify.base import Classifier
from cvcore.classify.localizer import Localizer
from cvcore.errors import ModelError, SpecError
from cvcore.models import ModelSource, build_model
from cvcore.train.batches import ALONE
from cvcore.train.epochs import START, only_worker
from cvcore.train.progress import LossIsNotFiniteError
from jobs.train import run_train
from jobs.train_catalog import TRAIN_SPECS
from jobs.train_classifier import ClassifierRun, check_classifier_data, started_text
from jobs.train_run import TrainRun, keep_epoch, keep_finish
from jobs.train_spec import ClassifierTrainSpec
from jobs.train_state import CHECKPOINT_NAME, SavedRun, load_run

SMALL: dict[str, dict[str, Any]] = {
    "squeezenet": {"model": "squeezenet1_1", "input_size": 64},
    "darknet": {"model": "darknet19", "input_size": 64, "width": 0.05},
}


def save_picture(path: Path, *, left: int, color: tuple[int, int, int], seed: int) -> list[int]:
    """A square of a colour on noise; returns its box, xywh."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 90, (48, 64, 3), dtype=np.uint8)
    top = int(random.integers(2, 20))
    pixels[top : top + 24, left : left + 24] = color
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return [left, top, 24, 24]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, six and two images each."""
    folder = tmp_path_factory.mktemp("classes")
    for label, color in (("red", (230, 30, 30)), ("blue", (30, 30, 230))):
        for split, count in (("train", 6), ("val", 2)):
            for k in range(count):
                save_picture(folder / split / label / f"{k}.png", left=5 * k, color=color, seed=k)
    return folder


@pytest.fixture(scope="module")
def boxed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as COCO, one box an image; of the training images one has two, and one none."""
    folder = tmp_path_factory.mktemp("boxed")
    for split, count in (("train", 8), ("val", 4)):
        images, annotations = [], []
        for k in range(count):
            color = ((230, 30, 30), (30, 30, 230))[k % 2]
            bbox = save_picture(folder / split / "images" / f"{k}.png", left=4 * k, color=color, seed=k)
            images.append({"id": k, "file_name": f"{k}.png", "width": 64, "height": 48})
            annotations.append({"id": k, "image_id": k, "category_id": k % 2, "bbox": bbox})
        if split == "train":
            annotations[0]["image_id"] = 1
            annotations[0]["bbox"] = [0, 0, 4, 4]
        categories = [{"id": k, "name": name} for k, name in enumerate(("red", "blue"))]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / split / "annotations.json").write_text(json.dumps(document))
    return folder


def make_spec(data: Path, out: Path, name: str, **changes: Any) -> ClassifierTrainSpec:
    settings = {"data": str(data), "out": str(out), "epochs": 1, "batch_size": 4, **SMALL[name], **changes}
    return ClassifierTrainSpec.model_validate(settings)


def epochs_of(run: TrainRun, saved: SavedRun | None = None, *, stop_after: int | None = None) -> SavedRun:
    progress = run.progress(run.network(), bf16=False)
    if saved is not None:
        progress.restore(saved.progress)
    done = len(saved.history) if saved else 0
    standing = saved.standing if saved else START
    for report in run.reports(progress, first_epoch=done, standing=standing, share=only_worker):
        saved = keep_epoch(run, progress, report, saved)
        if len(saved.history) == stop_after:
            break
    assert saved is not None
    return saved


@pytest.mark.parametrize("name", SMALL)
def test_a_classifier_trains_and_its_checkpoint_classifies(name: str, folders: Path, tmp_path: Path) -> None:
    spec = make_spec(folders, tmp_path, name, class_weights="balanced", label_smoothing=0.1)
    check_classifier_data(spec)
    run = ClassifierRun(spec, ALONE)
    saved = epochs_of(run)
    assert saved.history[0].loss > 0
    assert set(saved.history[0].held_out) == {"top1", "top5"}
    assert keep_finish(run, saved).finished
    assert saved.details["data"] == {"images": 12, "failures": {}, "left_out": {}}
    model = build_model(ModelSource("", weights=(tmp_path / CHECKPOINT_NAME).read_bytes()))
    assert isinstance(model, Classifier)
    assert model.labels == ("blue", "red")
    assert model.input_spec == run.model.input_spec


@pytest.mark.parametrize("name", SMALL)
def test_a_localiser_trains_on_images_with_one_box(name: str, boxed: Path, tmp_path: Path) -> None:
    spec = make_spec(boxed, tmp_path, name, options={"localize": True})
    check_classifier_data(spec)
    saved = epochs_of(ClassifierRun(spec, ALONE))
    assert saved.details["data"]["left_out"] == {"no box": 1, "several boxes": 1}
    assert 0 <= saved.history[0].held_out["localization_error"] <= 1
    assert set(saved.history[0].terms) == {"class", "box"}
    model = build_model(ModelSource("", weights=(tmp_path / CHECKPOINT_NAME).read_bytes()))
    assert isinstance(model, Localizer)

    largest = ClassifierRun(
        make_spec(boxed, tmp_path, name, options={"localize": True}, boxes="largest"), ALONE
    )
    assert next(p.box for p in largest._train.pictures if p.name.endswith("/1.png")) != (0, 0, 4, 4)
    assert len(largest._train) == 7


def test_a_run_that_was_killed_ends_with_the_same_weights(folders: Path, tmp_path: Path) -> None:
    """Dropout, order and crops are the epoch's, cut off or not; images are read again as they are needed."""
    whole = make_spec(folders, tmp_path / "whole", "squeezenet", epochs=3, seed=4)
    epochs_of(ClassifierRun(whole, ALONE))
    cut = make_spec(folders, tmp_path / "cut", "squeezenet", epochs=3, seed=4, max_cached_bytes=20_000)
    epochs_of(ClassifierRun(cut, ALONE), stop_after=1)
    epochs_of(ClassifierRun(cut, ALONE), load_run(cut))
    states = [load_run(spec) for spec in (whole, cut)]
    assert states[0] is not None
    assert states[1] is not None
    assert states[0].history == states[1].history
    for key, value in states[0].progress["model"].items():
        assert torch.equal(value, states[1].progress["model"][key]), key


def test_two_classes_that_differ_in_colour_are_learned(folders: Path, tmp_path: Path) -> None:
    spec = make_spec(
        folders, tmp_path, "darknet", epochs=8, batch_size=12, lr=2e-3, width=0.1, color=0, min_area=0.6
    )
    run = ClassifierRun(spec, ALONE)
    for module in run.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5  # at Darknet's 0.01 so few steps leave the statistics where they began
    saved = epochs_of(run)
    assert saved.standing.best_score == 1
    assert saved.history[-1].loss < saved.history[0].loss / 2


def test_torchvisions_weights_start_it_and_the_new_head_is_told(folders: Path, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(safetensors.torch.save(squeezenet1_1(weights=None).state_dict()))
    spec = make_spec(folders, tmp_path / "out", "squeezenet", init=str(file))
    check_classifier_data(spec)
    saved = epochs_of(ClassifierRun(spec, ALONE))
    assert saved.details["started"].endswith("its head, of 1,000 classes, was replaced by one of 2")
    other = make_spec(folders, tmp_path / "other", "darknet", init=str(tmp_path / "out" / CHECKPOINT_NAME))
    with pytest.raises(ModelError, match="Give weights of the same architecture, at the same width"):
        check_classifier_data(other)


def test_a_loss_that_is_no_number_ends_the_run(folders: Path, tmp_path: Path) -> None:
    run = ClassifierRun(make_spec(folders, tmp_path, "darknet"), ALONE)
    with torch.no_grad():
        next(run.model.parameters()).fill_(float("nan"))
    with pytest.raises(LossIsNotFiniteError, match="the loss is nan at step 0: lower the learning rate"):
        epochs_of(run)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {"localize": True}}, "has classes without boxes"),
        ({"val_split": "train"}, "hold some images out"),
        ({"train_split": "training"}, "has no split 'training'"),
        ({"data": "/nowhere/at/all"}, "is no training data"),
    ],
    ids=["classes for a localiser", "nothing held out", "split", "no folder"],
)
def test_data_that_cannot_be_learned_from_are_refused_before_ray(
    changes: dict[str, Any], message: str, folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=message):
        run_train(make_spec(folders, tmp_path, "squeezenet").model_copy(update=changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "alexnet", "input_size": 48}, "alexnet reads images of at least 63 px a side, got 48"),
        ({"width": 0.5}, "has no option 'width'.*Its options: "),
        ({"options": {"depth": 3}}, "has no option 'depth'.*Its options: "),
    ],
    ids=["canvas", "no width", "no such option"],
)
def test_a_configuration_that_no_network_has_is_refused_before_ray(
    changes: dict[str, Any], message: str, folders: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        run_train(make_spec(folders, tmp_path, "squeezenet", **changes))


def test_boxes_for_a_classifier_and_images_of_many_boxes_are_refused(boxed: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is a dataset of boxes.*--set localize=true"):
        check_classifier_data(make_spec(boxed, tmp_path, "squeezenet"))
    folder = tmp_path / "many"
    shutil.copytree(boxed, folder)
    path = folder / "train" / "annotations.json"
    document = json.loads(path.read_text())
    again = [each | {"id": each["id"] + 100, "bbox": [1, 1, 9, 9]} for each in document["annotations"]]
    path.write_text(json.dumps(document | {"annotations": document["annotations"] + again}))
    spec = make_spec(folder, tmp_path, "squeezenet", options={"localize": True})
    with pytest.raises(SpecError, match=r"1 with no box, 7 with several boxes cannot teach.*boxes: largest"):
        check_classifier_data(spec)
    check_classifier_data(spec.model_copy(update={"boxes": "largest"}))


def test_one_class_and_a_class_without_images_are_refused(folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(folders, folder)
    for file in (folder / "train" / "red").iterdir():
        file.unlink()
    with pytest.raises(SpecError, match=r"train has no image of 'red': add some, or remove the class"):
        check_classifier_data(make_spec(folder, tmp_path, "squeezenet"))
    shutil.rmtree(folder / "val" / "red")
    with pytest.raises(SpecError, match=r"has one class, 'blue': there is nothing to tell apart"):
        check_classifier_data(make_spec(folder, tmp_path, "squeezenet"))


def test_images_without_classes_are_no_dataset(tmp_path: Path) -> None:
    save_picture(tmp_path / "data" / "a.png", left=3, color=(9, 9, 9), seed=0)
    with pytest.raises(SpecError):
        check_classifier_data(make_spec(tmp_path / "data", tmp_path / "out", "squeezenet"))


def test_a_broken_image_costs_itself_and_many_are_refused(folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(folders, folder)
    for k in range(20):
        shutil.copy(folder / "train/red/0.png", folder / f"train/red/more{k}.png")
    buffer = io.BytesIO()
    Image.effect_noise((64, 48), 90).save(buffer, "PNG")
    (folder / "train/blue/0.png").write_bytes(buffer.getvalue()[:1500])
    run = ClassifierRun(make_spec(folder, tmp_path, "squeezenet"), ALONE)
    assert run._train.failures == {"truncated": 1}
    for k in range(1, 6):
        (folder / f"train/blue/{k}.png").write_bytes(buffer.getvalue()[:1500])
    with pytest.raises(SpecError, match=r"6 of 32 images of .*, train cannot be used .*6 truncated"):
        ClassifierRun(make_spec(folder, tmp_path, "squeezenet"), ALONE)


def test_the_catalogues_classifiers_train() -> None:
    names = (
        "alexnet",
        "vgg16",
        "resnet18",
        "resnet34",
        "resnet50",
        "squeezenet1_1",
        "darknet19",
        "darknet53",
    )
    assert {TRAIN_SPECS[name] for name in names} == {ClassifierTrainSpec}


def test_words_about_the_start() -> None:
    from cvcore.classify.start import Started

    assert started_text(Started(False, True, 3), "w", 3) == "Started from w; the boxes' head starts at random"
    assert "a head of 3 classes starts at random" in started_text(Started(True, False, None), "w", 3)
