"""What operators are told of a job: scraped from Ray's own agent, as Prometheus does, and read in logs."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from jobs.annotate import run_annotate
from jobs.metrics import METRICS, series_names
from jobs.outcome import RunResult
from jobs.progress import SilentListener, Snapshot, StageCount
from jobs.spec import build_spec
from jobs.telemetry import LOG_VARIABLE, Telemetry
from tests.corpus import good_image, good_name, toy_model

SCRAPE_TIMEOUT_S = 60
NUM_GOOD, NUM_EMPTY = 20, 3


def scrape() -> list[Sample]:
    """Everything of this project's that the node's agent shows."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return [each for family in families for each in family.samples if "veedor_" in each.name]


def samples_of(job_id: str) -> Iterator[list[Sample]]:
    """A job's samples, until its rows are all counted: agents are told every few seconds."""
    deadline = time.monotonic() + SCRAPE_TIMEOUT_S
    while time.monotonic() < deadline:
        yield [each for each in scrape() if each.labels["job_id"] == job_id[:12]]
        time.sleep(0.5)


def total(samples: list[Sample], name: str, **labels: str) -> float:
    wanted = labels.items()
    return sum(each.value for each in samples if each.name == name and wanted <= each.labels.items())


@pytest.fixture(scope="module")
def result(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A job of pictures, some of them empty, whose workers write logs."""
    del ray_cluster
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "in").mkdir()
    for index in range(NUM_GOOD + NUM_EMPTY):
        name, image_format = good_name(index)
        body = good_image(index, image_format) if index < NUM_GOOD else b""
        (folder / "in" / name).write_bytes(body)
    content = {
        "source": {"uri": str(folder / "in")},
        "model": toy_model(folder / "toy"),
        "resources": {"batch_size": 4},
        "sink": {"uri": str(folder / "out"), "images_per_unit": 8},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LOG_VARIABLE, "json")
        return run_annotate(build_spec(content, name="test"), listener=SilentListener())


def test_prometheus_sees_the_job(result: RunResult) -> None:
    for samples in samples_of(result.manifest["job_id"]):
        # The workers' part and the driver's arrive apart.
        published = total(samples, "ray_veedor_inputs", state="published")
        if total(samples, "ray_veedor_images_total") == published == NUM_GOOD + NUM_EMPTY:
            break
    assert total(samples, "ray_veedor_images_total", outcome="ok") == NUM_GOOD
    assert total(samples, "ray_veedor_images_total", outcome="failed") == NUM_EMPTY
    reasons = {each.labels["reason"]: each.value for each in samples if "failures" in each.name}
    assert reasons == result.manifest["failures"]
    num_units = 3
    for stage in ("decode", "infer", "write"):
        assert total(samples, "ray_veedor_unit_seconds_count", stage=stage) == num_units
        assert total(samples, "ray_veedor_unit_seconds_bucket", stage=stage, le="+Inf") == num_units
    assert {each.value for each in samples if each.name == "ray_veedor_batch_size"} == {4}
    assert total(samples, "ray_veedor_inputs", state="total") == NUM_GOOD + NUM_EMPTY
    assert total(samples, "ray_veedor_inputs", state="published") == NUM_GOOD + NUM_EMPTY
    assert total(samples, "ray_veedor_queue_images") == 0
    assert {each.labels["job"] for each in samples} == {"annotate"}
    catalogued = {name for key, entry in METRICS.items() for name in series_names(key, entry)}
    seen = {each.name for each in samples}
    assert seen <= catalogued
    assert catalogued - seen == {"ray_veedor_gpu_memory_bytes"}, "all others are of every job"


def test_workers_log_units(result: RunResult) -> None:
    logs = Path(ray._private.worker._global_node.get_session_dir_path()) / "logs"
    lines = [line for path in logs.glob("worker-*.err") for line in path.read_text().splitlines()]
    events = [json.loads(line) for line in lines if line.startswith("{")]
    ours = [each for each in events if each["job_id"] == result.manifest["job_id"]]
    assert {(each["stage"], each["unit"]) for each in ours} == {
        (stage, unit) for stage in ("decode", "infer", "write") for unit in range(3)
    }
    written = [each for each in ours if each["stage"] == "write"]
    assert sum(each["ok"] for each in written) == NUM_GOOD
    assert sum(each["failed"] for each in written) == NUM_EMPTY
    assert all(each["event"] == "unit" and each["seconds"] > 0 for each in ours)


def test_without_the_variable_nothing_is_logged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(LOG_VARIABLE, raising=False)
    Telemetry.of("annotate", "a" * 64).log("unit", unit=1)
    monkeypatch.setenv(LOG_VARIABLE, "json")
    Telemetry.of("annotate", "b" * 64).log("unit", unit=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["unit"] == 2


def test_a_line_is_one_write_that_no_other_threads_can_split(monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[str] = []

    class Recorded(io.StringIO):
        def write(self, text: str) -> int:
            writes.append(text)
            return len(text)

    monkeypatch.setattr("sys.stderr", Recorded())
    Telemetry("annotate", "a" * 64, logs=True).log("unit", unit=1)
    (line,) = writes
    assert line.endswith("}\n")


@pytest.mark.usefixtures("ray_cluster")
def test_images_between_stages_are_the_queue() -> None:
    telemetry = Telemetry("annotate", "queue" * 10)
    stages = {"decode": StageCount(90, 10), "infer": StageCount(55, 5), "write": StageCount(40, 0)}
    telemetry.progress(Snapshot(1000, 100, 1.0, 1, 2, stages))
    for samples in samples_of(telemetry.job_id):
        if samples:
            break
    assert total(samples, "ray_veedor_queue_images", stage="infer") == 40
    assert total(samples, "ray_veedor_queue_images", stage="write") == 20
    assert total(samples, "ray_veedor_inputs", state="published") == 140
    assert total(samples, "ray_veedor_actors", state="ready") == 1
    assert total(samples, "ray_veedor_actors", state="wanted") == 2
