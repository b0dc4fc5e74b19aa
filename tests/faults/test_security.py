"""What a job's files and arguments must not bring about: code, reading outside, secrets on paper."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from cluster.cli import app
from cvcore.scenes import SceneSpec, write_scenes
from jobs.storage.roots import VARIABLE
from jobs.train_state import STATE_NAME
from tests.corpus import good_image, toy_model
from tests.faults.record import record
from tests.jobs.report.fabricate import failed_row, write_run
from tests.runs import read_rows

# Commands that are refused late have joined the session's cluster by then, rather than started one each.
pytestmark = pytest.mark.usefixtures("ray_cluster")
GRAPH = "ssdlite320_mobilenet_v3_large"


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A folder with photos, a toy model, a small dataset, and a place for things outside."""

    root: Path
    toy: dict[str, str]

    @property
    def photos(self) -> str:
        return str(self.root / "photos")

    @property
    def out(self) -> str:
        return str(self.root / "out")

    @property
    def data(self) -> str:
        return str(self.root / "dataset")

    def annotate(self, **changes: str) -> list[str]:
        """`veedor annotate` with the toy model; `source`, `out` and options by name."""
        options = {"model": self.toy["name"], "weights": self.toy["weights"], "labels": self.toy["labels"]}
        options |= {"out": self.out} | changes
        source = options.pop("source", self.photos)
        return ["annotate", source, *(w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", v))]

    def train(self, **changes: str) -> list[str]:
        options = {"val-data": self.data, "out": self.out, "epochs": "1"} | changes
        data = options.pop("data", self.data)
        return ["train", data, *(w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", v))]


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    root = tmp_path / "work"
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "a.jpg").write_bytes(good_image(1))
    write_scenes(root / "dataset", num_scenes=2, seed=1, spec=SceneSpec(min_side=200, max_side=210))
    write_run(root / "run", [failed_row("/a.jpg", "decode", "empty", "no bytes")])
    return Workplace(root, toy_model(root / "toy"))


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(app, arguments)


def check_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    text = " ".join(result.output.split())
    assert "error: " in text, text
    assert "Traceback" not in text
    for word in words:
        assert word in text, text


# --- pickles


def _dresses(trap: Trap) -> dict[str, bytes]:
    torch_file = io.BytesIO()
    torch.save({"a": trap}, torch_file)
    return {
        "pickle": pickle.dumps(trap),
        "torch": torch_file.getvalue(),
        "safetensors": pickle.dumps({"{": trap}, protocol=0),
        "zip": b"PK\x03\x04" + pickle.dumps(trap),
    }


def _where_pickles_go(place: Workplace, file: Path, pin: str) -> dict[str, list[str]]:
    return {
        "weights": place.annotate(weights=str(file)),
        "pinned weights": place.annotate(weights=str(file), sha256=pin),
        "weights of a graph": [
            *("annotate", place.photos, "--out", place.out, "--model", GRAPH),
            *("--weights", str(file), "--sha256", pin),
        ],
        "weights of a dry run": [*place.annotate(weights=str(file), sha256=pin), "--dry-run"],
        "model": ["annotate", place.photos, "--out", place.out, "--model", str(file)],
        "cfg": place.annotate(model=str(file.with_suffix(".cfg"))),
        "labels": place.annotate(labels=str(file)),
        "spec": ["run", str(file)],
        "spec of a dry run": ["run", str(file), "--dry-run"],
        "report": ["report", str(file.parent / "run")],
        "truth": ["evaluate", str(file.parent / "run"), "--truth", str(file)],
        "init": place.train(init=str(file)),
        "state": place.train(out=str(file.parent / "trained")),
    }


@pytest.mark.parametrize("dress", ["pickle", "torch", "safetensors", "zip"])
def test_pickles_never_execute(dress: str, place: Workplace, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    body = _dresses(Trap(canary))[dress]
    pickles = tmp_path / "pickles"
    names = ("x.pt", "x.pth", "x.safetensors", "x.weights")
    others = ("x.cfg", "run/_veedor/job.json", f"trained/{STATE_NAME}", "run/data/part-00000.parquet")
    for name in (*names, *others):
        (pickles / name).parent.mkdir(parents=True, exist_ok=True)
        (pickles / name).write_bytes(body)
    pin = hashlib.sha256(body).hexdigest()
    attempts = [
        (where, arguments)
        for name in names
        for where, arguments in _where_pickles_go(place, pickles / name, pin).items()
        # What does not depend on the file's own name is tried once.
        if name == names[0] or where in ("weights", "pinned weights", "weights of a graph", "model", "init")
    ]
    for where, arguments in attempts:
        result = run(arguments)
        assert result.exit_code in (1, 2), (where, result.output)
        assert "Traceback" not in result.output, where
        assert result.exception is None or isinstance(result.exception, SystemExit), (where, result.exception)
        assert not canary.exists(), where
    pickle.loads(pickle.dumps(Trap(canary)))
    assert canary.exists()
    record(
        f"pickles dressed as {dress}", attack="in every file that is read", trials=len(attempts), failures=0
    )


# --- locations


def _where_locations_go(place: Workplace, location: str) -> dict[str, list[str]]:
    return {
        "source": place.annotate(source=location),
        "sink": place.annotate(out=location),
        "model": place.annotate(model=location + "/x.cfg"),
        "checkpoint": ["annotate", place.photos, "--out", place.out, "--model", location + "/x.safetensors"],
        "folder of a checkpoint": ["annotate", place.photos, "--out", place.out, "--model", location],
        "weights": place.annotate(weights=location),
        "labels": place.annotate(labels=location),
        "dry run": [*place.annotate(source=location), "--dry-run"],
        "report": ["report", location],
        "report's target": ["report", str(place.root / "run"), "--out", location],
        "run to evaluate": ["evaluate", location, "--truth", place.data + "/annotations.json"],
        "truth": ["evaluate", place.out, "--truth", location],
        "data": place.train(data=location),
        "held-out data": place.train(val_data=location),
        "trained": place.train(out=location),
        "init": place.train(init=location),
    }


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "https://example.org/x",
        "s3://key:secret@bucket/x",
    ],
)
def test_schemes_are_refused_wherever_a_location_goes(location: str, place: Workplace) -> None:
    for where, arguments in _where_locations_go(place, location).items():
        result = run(arguments)
        assert result.exit_code == 2, (where, result.output)
        assert "Traceback" not in result.output, where
        assert "key:secret" not in result.output, where
    assert not Path(place.out).exists()


@pytest.mark.parametrize(
    "location",
    [
        "{root}/../outside",
        "{root}-evil",
        "{root}/link",
        "{root}/link/../outside",
        "/etc",
        "s3://fleet-evil/a/x",
        "s3://fleet/ab/x",
        "s3://fleet/a/../b",
        "s3://fleet//a/x",
    ],
)
def test_the_operators_roots_hold_wherever_a_location_goes(
    location: str, place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("outside", "work-evil"):
        shutil.copytree(place.root, place.root.parent / name)
    (place.root / "link").symlink_to(place.root.parent / "outside")
    before = _tree(place.root.parent)
    monkeypatch.setenv(VARIABLE, f"{place.root}{os.pathsep}s3://fleet/a")
    _, *places = _where_locations_go(place, location.format(root=place.root)).items()
    for where, arguments in [("source", place.annotate(source=location.format(root=place.root))), *places]:
        check_refused(run(arguments), *([] if where == "truth" else ["outside of the allowed"]))
    assert _tree(place.root.parent) == before


def _tree(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_a_job_inside_of_the_roots_runs(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / "photos" / "link.jpg").symlink_to("/etc/passwd")
    monkeypatch.setenv(VARIABLE, str(place.root))
    result = run([*place.annotate(), "--batch-size", "1"])
    assert result.exit_code == 0, result.output
    assert [Path(row["uri"]).name for row in read_rows(place.out).to_pylist()] == ["a.jpg"]
    assert run(["report", place.out]).exit_code == 0


@pytest.mark.parametrize("name", ["../../outside.jpg", "/etc/passwd", "link.jpg"])
def test_annotations_do_not_name_files_elsewhere(name: str, place: Workplace) -> None:
    (place.root.parent / "outside.jpg").write_bytes(good_image(1))
    (place.root / "dataset" / "images" / "link.jpg").symlink_to(place.root.parent / "outside.jpg")
    file = place.root / "dataset" / "annotations.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = name
    file.write_text(json.dumps(content))
    from cvcore.errors import SpecError
    from jobs.storage import AccessRefused
    from jobs.train_detector import read_splits
    from jobs.train_spec import DetectorTrainSpec

    spec = DetectorTrainSpec.model_validate({"data": place.data, "val_data": place.data, "out": place.out})
    train, _ = read_splits(spec)
    assert all(Path(name).name not in image.name for image in train.dataset.images)
    with pytest.raises((SpecError, AccessRefused)):
        train.source.read_image(f"images/{name}" if not name.startswith("/") else name)


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "key:secret@x"]
)
def test_endpoints_at_metadata_services(host: str, place: Workplace) -> None:
    url = f"http://{host}"
    spec = place.root / "annotate.yaml"
    sections = {"source": {"uri": "s3://b/x"}, "sink": {"uri": place.out}, "storage": {"endpoint_url": url}}
    spec.write_text(yaml.safe_dump(sections))
    for arguments in (
        ["run", str(spec)],
        ["run", str(spec), "--dry-run"],
        place.annotate(source="s3://b/x", endpoint_url=url),
        place.annotate(out="s3://b/x", endpoint_url=url),
        place.annotate(weights="s3://b/x", endpoint_url=url),
        ["report", "s3://b/x", "--endpoint-url", url],
        ["evaluate", "s3://b/x", "--truth", "s3://b/y", "--endpoint-url", url],
        place.train(data="s3://b/x", endpoint_url=url),
    ):
        result = run(arguments)
        check_refused(result, "endpoint")
        assert "secret" not in result.output
