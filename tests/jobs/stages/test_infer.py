"""The inference actor, in this process: whole units in and out."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import ray
import torch

from cvcore.checkpoint import save_checkpoint
from cvcore.darknet.detector import DarknetDetector
from cvcore.detect.yolo import build_tiny
from cvcore.image.fit import plan_fit
from cvcore.image.limits import DecodeLimits
from cvcore.models import ModelSource
from cvcore.types import DetectOptions
from jobs.board import Tally
from jobs.stages import decode
from jobs.stages.decode import decode_inputs
from jobs.stages.guard import InputBounds
from jobs.stages.infer import InferStage
from jobs.stages.replica import resolve_precision
from jobs.stages.settings import InferSettings
from jobs.stages.tasks import DetectTask
from jobs.storage import Access, open_store
from tests.corpus import good_image

pytestmark = pytest.mark.usefixtures("ray_cluster")
OPTIONS = DetectOptions(min_score=0.001, max_detections=10)


def small_model(*, bad_weight: float | None = None) -> DarknetDetector:
    torch.manual_seed(4)
    model = build_tiny(("a", "b"), width=4, input_size=64).eval()
    if bad_weight is not None:
        with torch.no_grad():
            parameter = next(model.parameters())
            parameter[(0,) * parameter.dim()] = bad_weight
    return model


def make_stage(folder: Path, model: DarknetDetector, *, batch_size: int | None = 4) -> InferStage:
    body = save_checkpoint(
        model.state_dict(), model="tiny", config=model.config, labels=model.labels, training={}
    )
    source = ModelSource(name="tiny", weights=body, weights_name="small.safetensors")
    settings = InferSettings(
        task=DetectTask(OPTIONS),
        precision="auto",
        batch_size=batch_size,
        threads=1,
        on_gpu=False,
        tuning_uri=str(folder / "tuning.json"),
        access=Access(),
        writer="w",
        tally=Tally.start(),
        bounds=InputBounds(max_seconds=60, max_memory=2**32),
    )
    return InferStage(ray.put(source), settings)


def unit(folder: Path, model: DarknetDetector, bodies: list[bytes]) -> pa.Table:
    """A decoded unit of files with these bytes."""
    inputs = []
    for index, body in enumerate(bodies):
        path = folder / f"{index:02d}"
        path.write_bytes(body)
        inputs.append({"uri": str(path), "etag": open_store("/").stat(str(path)).etag, "size": len(body)})
    return decode_inputs(inputs, open_store("/"), model.input_spec, DecodeLimits(), unit=7)


def test_a_unit_gives_what_the_model_gives_for_each_image_alone(tmp_path: Path) -> None:
    model = small_model()
    bodies = [good_image(i) for i in range(7)]
    bodies[2] = b""
    batch = unit(tmp_path, model, bodies)
    rows = make_stage(tmp_path, model)(batch).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "ok", "decode", "ok", "ok", "ok", "ok"]
    total = 0
    for index, row in enumerate(rows):
        if row["status"] != "ok":
            continue
        canvas = torch.frombuffer(bytearray(batch.column("canvas")[index].as_py()), dtype=torch.uint8)
        fit = plan_fit(row["height"], row["width"], model.input_spec)
        (alone,) = model.predict(canvas.view(1, 64, 64, 3), [fit], OPTIONS)
        assert len(alone) == len(row["detections"])
        torch.testing.assert_close(
            torch.tensor([d["box"] for d in row["detections"]]).view(-1, 4), alone.boxes, atol=1e-3, rtol=1e-4
        )
        assert [d["label_id"] for d in row["detections"]] == alone.label_ids.tolist()
        total += len(alone)
    assert total > 0, "the random model found nothing: this proves nothing"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_not_finite_are_a_status(tmp_path: Path, value: float) -> None:
    model = small_model(bad_weight=value)
    rows = make_stage(tmp_path, model)(unit(tmp_path, model, [good_image(1), b"x"])).to_pylist()
    assert [(row["status"], row["error_code"]) for row in rows] == [
        ("infer", "non_finite"),
        ("decode", "not_an_image"),
    ]
    assert rows[0]["detections"] is None


def test_a_batch_that_does_not_fit_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    batch = unit(tmp_path, model, [good_image(i) for i in range(8)])
    whole = make_stage(tmp_path, model)(batch)
    stage = make_stage(tmp_path, model, batch_size=8)
    forward = stage._head.model.forward
    sizes = []

    def crowded(images: torch.Tensor) -> object:
        sizes.append(len(images))
        if len(images) > 2:
            raise torch.OutOfMemoryError("simulated")
        return forward(images)

    monkeypatch.setattr(stage._head.model, "forward", crowded)
    halved = stage(batch)
    assert sizes == [8, 4, 2, 2, 2, 2]
    assert [len(d) for d in halved.column("detections").to_pylist()] == [
        len(d) for d in whole.column("detections").to_pylist()
    ]


def test_one_image_that_never_fits_is_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    batch = unit(tmp_path, model, [good_image(i) for i in range(3)])
    stage = make_stage(tmp_path, model, batch_size=2)

    def full(images: torch.Tensor) -> object:
        del images
        raise torch.OutOfMemoryError("simulated")

    monkeypatch.setattr(stage._head.model, "forward", full)
    assert stage(batch).column("error_code").to_pylist() == ["out_of_memory"] * 3


def test_a_defect_that_one_image_brings_out_costs_that_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()
    batch = unit(tmp_path, model, [good_image(i) for i in range(7)])
    sound = make_stage(tmp_path, model, batch_size=1)(batch).to_pylist()
    stage = make_stage(tmp_path, model, batch_size=4)
    preprocess, guilty = stage._head.model.preprocess, batch.column("canvas")[5].as_py()

    def defective(images: torch.Tensor, fits: object) -> torch.Tensor:
        if any(image.numpy().tobytes() == guilty for image in images):
            raise ZeroDivisionError("a defect")
        return preprocess(images, fits)

    monkeypatch.setattr(stage._head.model, "preprocess", defective)
    rows = stage(batch).to_pylist()
    assert [row["status"] for row in rows] == ["ok"] * 5 + ["infer"] + ["ok"]
    assert (rows[5]["error_code"], rows[5]["error"]) == ("unexpected", "ZeroDivisionError: a defect")
    assert [len(r["detections"]) for r in rows if r["detections"] is not None] == [
        len(row["detections"]) for index, row in enumerate(sound) if index != 5
    ]


def test_a_defect_of_the_decoder_costs_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = decode.decode_to_canvas

    def defective(data: bytes, *arguments: object, **options: object) -> object:
        if data.endswith(b"!"):
            raise KeyError("a defect")
        return sound(data, *arguments, **options)

    monkeypatch.setattr(decode, "decode_to_canvas", defective)
    rows = unit(tmp_path, small_model(), [good_image(0), good_image(1) + b"!", good_image(2)]).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "decode", "ok"]
    assert (rows[1]["error_code"], rows[1]["error"]) == ("unexpected", "KeyError: 'a defect'")


def test_the_first_measured_batch_size_stands_for_all_replicas(tmp_path: Path) -> None:
    model = small_model()
    measured = make_stage(tmp_path, model, batch_size=None)
    record = (tmp_path / "tuning.json").read_text()
    assert make_stage(tmp_path, model, batch_size=None)._batch_size == measured._batch_size
    (tmp_path / "tuning.json").write_text('{"batch_size": 5}')
    assert make_stage(tmp_path, model, batch_size=None)._batch_size == 5
    assert '"images_per_s"' in record


def test_precision_is_chosen_by_device() -> None:
    assert resolve_precision("auto", torch.device("cpu")) == torch.float32
    assert resolve_precision("bf16", torch.device("cpu")) == torch.bfloat16
