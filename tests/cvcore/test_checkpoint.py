from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torchvision.models import squeezenet1_1

from cvcore.checkpoint import (
    is_checkpoint,
    load_into,
    read_about,
    read_checkpoint,
    read_state_dict,
    save_checkpoint,
)
from cvcore.errors import WeightsError
from tests.data import shared_data


def small_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


ABOUT: dict[str, Any] = {
    "model": "tiny",
    "config": {"width": 16, "anchors": [[1.5, 2.0]]},
    "labels": ("bolt", "Schraube ß", "ネジ"),
    "training": {"steps": 10},
}


def torch_saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def pin(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def assert_same(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_what_is_said_of_the_weights_is_read_without_them() -> None:
    body = save_checkpoint(small_net().state_dict(), **ABOUT)
    size = int.from_bytes(body[:8], "little")
    whole, about = read_checkpoint(body), read_about(io.BytesIO(body[: 8 + size]))
    assert (about["model"], about["config"], tuple(about["labels"]), about["training"]) == (
        whole.model,
        whole.config,
        whole.labels,
        whole.training,
    )
    for damaged in (body[: size // 2], b"", b"\xff" * 64):
        with pytest.raises(WeightsError):
            read_about(io.BytesIO(damaged))


def test_round_trip() -> None:
    state = small_net().state_dict()
    data = save_checkpoint(state, **ABOUT)
    assert is_checkpoint(data)
    found = read_checkpoint(data)
    assert_same(found.state, state)
    assert {key: getattr(found, key) for key in ABOUT} == ABOUT


def test_bytes_are_deterministic_whatever_the_order() -> None:
    state = small_net().state_dict()
    backwards = OrderedDict(reversed(state.items()))
    turned = ABOUT | {"config": dict(reversed(ABOUT["config"].items()))}
    assert save_checkpoint(state, **ABOUT) == save_checkpoint(backwards, **turned)


def test_layout_and_shared_memory_do_not_matter() -> None:
    weight = torch.randn(4, 3, 3, 3)
    rows = weight.contiguous(memory_format=torch.channels_last)
    plain = save_checkpoint({"a": weight, "b": weight.clone()}, **ABOUT)
    assert save_checkpoint({"a": rows, "b": rows}, **ABOUT) == plain


def test_other_readers_see_plain_safetensors() -> None:
    state = small_net().state_dict()
    assert_same(safetensors.torch.load(save_checkpoint(state, **ABOUT)), state)


def test_half_precision_is_cast_up_into_the_model() -> None:
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in small_net(1).state_dict().items()
    }
    model = small_net(2)
    load_into(model, read_checkpoint(save_checkpoint(state, **ABOUT)).state)
    for key, value in model.state_dict().items():
        assert value.dtype == small_net().state_dict()[key].dtype
        assert torch.equal(value, state[key].to(value.dtype))


def test_a_config_that_is_not_json_is_refused() -> None:
    with pytest.raises((TypeError, ValueError)):
        save_checkpoint({}, **(ABOUT | {"config": {"rate": float("nan")}}))


def with_header(about: Any) -> bytes:
    return safetensors.torch.save({"a": torch.ones(2)}, metadata={"veedor": json.dumps(about)})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a Veedor checkpoint"),
        (b"\0" * 50, "not a Veedor checkpoint"),
        (safetensors.torch.save({"a": torch.ones(2)}), "not a Veedor checkpoint"),
        (safetensors.torch.save({"a": torch.ones(2)}, metadata={"veedor": "{"}), "damaged"),
        (with_header([]), "names no format"),
        (with_header({"format": 2}), "format 2.*update"),
        (with_header({"format": 1, "model": "x", "config": {}, "labels": [1], "training": {}}), "labels"),
        (with_header({"format": 1, "model": 5, "config": [], "labels": [], "training": {}}), "model, config"),
        (save_checkpoint(small_net().state_dict(), **ABOUT)[:-1], "incomplete"),
        (save_checkpoint(small_net().state_dict(), **ABOUT) + b"x", "damaged"),
    ],
)
def test_damaged_checkpoints(data: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(data)


def test_random_damage_is_always_a_weights_error() -> None:
    random = np.random.default_rng(0)
    failures = 0
    whole = np.frombuffer(save_checkpoint(small_net().state_dict(), **ABOUT), np.uint8)
    for _ in range(300):
        data = whole.copy()
        data[random.integers(0, 600, size=3)] = random.integers(0, 256, size=3)
        broken = (
            data.tobytes()[: int(random.integers(1, len(data)))] if random.random() < 0.5 else data.tobytes()
        )
        for read in (read_checkpoint, lambda d: read_state_dict(d, name="x", sha256=pin(d))):
            try:
                read(broken)
            except WeightsError:
                failures += 1
    assert failures > 300


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_torch_files_need_a_pinned_digest(legacy: bool) -> None:
    state = small_net().state_dict()
    data = torch_saved(state, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=f"net.pth is a pickle.*sha256: {pin(data)}"):
        read_state_dict(data, name="net.pth")
    assert_same(read_state_dict(data, name="net.pth", sha256=pin(data)), state)
    assert_same(read_state_dict(data, name="net.pth", sha256=pin(data).upper()), state)


@pytest.mark.parametrize("kind", ["torch", "safetensors"])
def test_another_digest_is_refused(kind: str) -> None:
    state = small_net().state_dict()
    data = torch_saved(state) if kind == "torch" else safetensors.torch.save(state)
    with pytest.raises(WeightsError, match="another file"):
        read_state_dict(data, name="net", sha256="0" * 64)


def test_safetensors_need_no_pin() -> None:
    state = small_net().state_dict()
    assert_same(read_state_dict(safetensors.torch.save(state), name="net"), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": s, "optimizer": {"lr": 0.1}},
        lambda s: {"state_dict": {"model": s}},
        lambda s: {"model_state_dict": s},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: {"model": {f"module._orig_mod.{key}": value for key, value in s.items()}},
    ],
)
def test_wrappings_are_taken_off(wrap: Any) -> None:
    state = dict(small_net().state_dict())
    data = torch_saved(wrap(state))
    assert_same(read_state_dict(data, name="net", sha256=pin(data)), state)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dress", ["pickle", "torch", "legacy", "safetensors", "zip"])
def test_code_in_a_file_never_runs(dress: str, tmp_path: Path) -> None:
    trap = Trap(tmp_path / "executed")
    data = {
        "pickle": lambda: pickle.dumps(trap),
        "torch": lambda: torch_saved({"a": trap}),
        "legacy": lambda: torch_saved({"a": trap}, _use_new_zipfile_serialization=False),
        "safetensors": lambda: pickle.dumps({"{": trap}, protocol=0),
        "zip": lambda: b"PK\x03\x04" + pickle.dumps(trap),
    }[dress]()
    for sha256 in (None, pin(data)):
        with pytest.raises(WeightsError):
            read_state_dict(data, name="model.safetensors", sha256=sha256)
    with pytest.raises(WeightsError):
        read_checkpoint(data)
    assert not trap.path.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "list"),
        ({}, "dict"),
        ({"a": torch.ones(1), "lr": 0.1}, "1 not tensors"),
        (torch.ones(2), "Tensor"),
    ],
)
def test_files_without_a_state_dict(value: Any, message: str) -> None:
    data = torch_saved(value)
    with pytest.raises(WeightsError, match=message):
        read_state_dict(data, name="net", sha256=pin(data))


@pytest.mark.parametrize("data", [b"", b"<html>", b"\0\0\0\0\2\0\0\0" + b"\0" * 40])
def test_files_of_another_kind(data: bytes) -> None:
    with pytest.raises(WeightsError, match="neither safetensors nor"):
        read_state_dict(data, name="net")


def test_truncated_torch_file() -> None:
    data = torch_saved(small_net().state_dict())
    for length in range(10, len(data), 97):
        cut = data[:length]
        with pytest.raises(WeightsError):
            read_state_dict(cut, name="net", sha256=pin(cut))


def test_weights_that_do_not_fit_are_listed_and_change_nothing() -> None:
    model = small_net(0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = dict(small_net(1).state_dict())
    del state["0.bias"]
    state["9.extra"] = torch.ones(1)
    state["3.weight"] = torch.ones(5, 4)
    with pytest.raises(WeightsError) as caught:
        load_into(model, state, name="net.pth")
    message = str(caught.value)
    assert "net.pth do not fit" in message
    assert "1 missing (0.bias)" in message
    assert "1 unexpected (9.extra)" in message
    assert "3.weight 5x4 instead of 2x4" in message
    assert "Sequential, has 9 tensors" in message
    assert_same(model.state_dict(), before)


def test_batch_norm_counters_may_be_absent() -> None:
    state = {key: value for key, value in small_net(1).state_dict().items() if "num_batches" not in key}
    model = small_net(0)
    load_into(model, state)
    assert torch.equal(model[0].weight, small_net(1)[0].weight)


def test_real_fp16_safetensors() -> None:
    path = next(shared_data("weights", "squeezenet1_1-imagenet").glob("*.safetensors"))
    state = read_state_dict(path.read_bytes(), name=path.name)
    model = squeezenet1_1(weights=None)
    load_into(model, state, name=path.name)
    assert torch.equal(model.classifier[1].weight, state["classifier.1.weight"].float())
