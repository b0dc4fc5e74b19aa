"""The stages in separate processes (as with GPUs) and in one actor (as without) give the same rows."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.execute import execute
from jobs.launch import Launch
from jobs.outcome import RunResult
from jobs.prepare import claim_job, prepare
from jobs.progress import SilentListener
from jobs.spec import build_spec
from jobs.storage import AccessRefused
from jobs.storage.local import LocalStore
from tests.corpus import good_image, good_name, toy_model

NUM_IMAGES = 30
NUM_BAD = 2


def run(folder: Path, model: dict[str, str], *, out: str, fused: bool, units_per_file: int) -> RunResult:
    content = {
        "source": {"uri": str(folder / "in")},
        "model": model,
        "resources": {"batch_size": 4},
        "sink": {"uri": str(folder / out), "units_per_file": units_per_file},
    }
    silent = SilentListener()
    spec = build_spec(content, name="test")
    with Launch(spec.resources, address=None, verbose=False, listener=silent) as launch:
        prepared = claim_job(prepare(spec, listener=silent, inspect=launch.inspect), listener=silent)
        launched = launch.launched
        if not fused:
            resources = replace(launched.resources, fused=False, actors=1, cpus_per_actor=0.5)
            launched = replace(launched, resources=resources)
        return execute(prepared, launched, listener=silent, started=time.monotonic(), verbose=False)


@pytest.mark.usefixtures("ray_cluster")
def test_separate_and_fused_stages_give_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(NUM_IMAGES):
        name, image_format = good_name(index)
        body = b"" if index < NUM_BAD else good_image(index, image_format)
        (tmp_path / "in" / name).write_bytes(body)
    model = toy_model(tmp_path / "toy")
    fused = run(tmp_path, model, out="fused", fused=True, units_per_file=1)
    separate = run(tmp_path, model, out="separate", fused=False, units_per_file=1)
    merged = run(tmp_path, model, out="merged", fused=True, units_per_file=3)
    expected = {"inputs": NUM_IMAGES, "ok": NUM_IMAGES - NUM_BAD, "failed": NUM_BAD}
    tables = []
    for result, num_files in ((fused, 4), (separate, 4), (merged, 2)):
        counts = result.manifest["counts"]
        assert {key: counts[key] for key in expected} == expected
        assert counts["detections"] > 0
        assert len(list(Path(result.uri, "data").iterdir())) == num_files
        tables.append(pq.read_table(Path(result.uri, "data")).replace_schema_metadata())
    assert tables[0].equals(tables[1])
    assert tables[0].equals(tables[2])
    assert not list(Path(merged.uri, "_veedor", "parts").iterdir()), "parts are removed once merged"


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_whose_record_cannot_be_kept_is_finished_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(good_image(1))

    def refuse(store: LocalStore, uri: str, body: bytes) -> None:
        del store, body
        raise AccessRefused(f"no permission for {uri}")

    monkeypatch.setattr(LocalStore, "put", refuse)
    model = toy_model(tmp_path / "toy")
    result = run(tmp_path, model, out="out", fused=True, units_per_file=1)
    assert result.outcome == "finished"
    assert (tmp_path / "out" / "_SUCCESS.json").exists()
    assert not (tmp_path / "out" / "_veedor" / "runs").exists()
