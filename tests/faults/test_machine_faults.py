"""The machine under a job fails: its disk is full or read-only, its memory is used up, its clock jumps."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import botocore.auth
import pyarrow as pa
import pytest
import ray

import jobs.quarantine
from jobs.annotate import run_annotate
from jobs.outcome import JobFailed
from jobs.progress import SilentListener
from jobs.spec import AnnotateSpec, build_spec
from jobs.storage import AccessRefused, CredentialsRefused, StoreFull, open_store
from tests.conftest import point_at
from tests.corpus import good_image, good_name, toy_model
from tests.faults.record import full, record
from tests.runs import last_event, read_local_rows, veedor
from tests.s3_files import new_bucket
from tests.s3_servers import S3Server

NUM_IMAGES = 64

# Found by every Python process of the run: each second the clock is a day ahead or a day behind.
CLOCK = """
import time

sound = time.time


def jumping():
    return sound() + (86_400 if int(time.monotonic()) % 2 else -86_400)


time.time = jumping
"""


@dataclass(frozen=True)
class Job:
    """Images and a model in local folders, and the rows that an undisturbed run makes of them."""

    images: Path
    model: dict[str, str]
    whole: Path
    rows: pa.Table

    def spec(self, out: Path) -> AnnotateSpec:
        return spec_of(self.images, self.model, out)


def spec_of(images: Path, model: dict[str, str], out: Path) -> AnnotateSpec:
    content = {
        "source": {"uri": str(images)},
        "model": model,
        "annotate": {"min_score": 0.0},
        "resources": {"batch_size": 4},
        "sink": {"uri": str(out), "images_per_unit": 4},
    }
    return build_spec(content, name="test")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Job:
    del ray_cluster
    folder = tmp_path_factory.mktemp("machine")
    images = folder / "in"
    images.mkdir()
    for index in range(NUM_IMAGES):
        name, kind = good_name(index)
        (images / name).write_bytes(good_image(index, kind))
    model = toy_model(folder / "toy")
    run_annotate(spec_of(images, model, folder / "whole"), listener=SilentListener())
    return Job(images, model, folder / "whole", read_local_rows(folder / "whole"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting takes root")
    done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def remount(place: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


def test_a_full_disk_is_named_and_a_rerun_completes(job: Job, disk: Path) -> None:
    remount(disk, f"size={used_bytes(job.whole) * 6 // 10}")
    out = disk / "out"
    with pytest.raises(JobFailed, match=r"No space left on device\. Make room") as failure:
        run_annotate(job.spec(out), listener=SilentListener())
    assert "Traceback" not in str(failure.value)
    parts = sorted((out / "data").glob("*.parquet"))
    assert 0 < len(parts) < NUM_IMAGES // 4
    assert read_local_rows(out).num_rows == 4 * len(parts), "what is visible is whole"
    assert not list(out.rglob(".*")), "drafts would fill what little room is left"
    remount(disk, "size=64m")
    run_annotate(job.spec(out), listener=SilentListener())
    assert read_local_rows(out).equals(job.rows)
    record(
        "Disk full in mid-run",
        attack=f"room for {len(parts)} of {NUM_IMAGES // 4} parts",
        trials=1,
        differences=0,
        failures=1,
        rerun="complete",
    )


def test_a_read_only_output_is_refused_before_any_work(job: Job, disk: Path) -> None:
    remount(disk, "ro")
    with pytest.raises(AccessRefused, match="Read-only file system"):
        run_annotate(job.spec(disk / "out"), listener=SilentListener())
    assert not list(disk.iterdir())
    if not full():
        return
    remount(disk, "rw")
    run_annotate(job.spec(disk / "out"), listener=SilentListener())
    assert read_local_rows(disk / "out").equals(job.rows)
    record("Output read-only", attack="ro mount", trials=1, differences=0, failures=1, rerun="complete")


def test_a_disk_that_fills_leaves_no_draft(disk: Path) -> None:
    remount(disk, "size=64k")
    store = open_store(str(disk))
    for write in (
        lambda: store.create(str(disk / "part"), b"x" * 2**20, writer="w"),
        lambda: store.put(str(disk / "record"), b"x" * 2**20),
    ):
        with pytest.raises(StoreFull, match="Make room"):
            write()
    assert not list(disk.iterdir())


def test_a_cluster_out_of_memory_fails_clearly_and_a_rerun_completes(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(pipeline: object) -> Iterator[None]:
        del pipeline
        raise ray.exceptions.OutOfMemoryError("Task was killed due to the node running low on memory.")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(jobs.quarantine, "run_pipeline", killed)
        with pytest.raises(JobFailed, match="low on memory") as failure:
            run_annotate(job.spec(tmp_path / "out"), listener=SilentListener())
    assert "Run the same command again" in str(failure.value)
    if not full():
        return
    run_annotate(job.spec(tmp_path / "out"), listener=SilentListener())
    assert read_local_rows(tmp_path / "out").equals(job.rows)
    record(
        "Cluster out of memory",
        attack="Ray's OutOfMemoryError, simulated",
        trials=1,
        differences=0,
        failures=1,
        rerun="complete",
    )


def test_a_clock_that_jumps_changes_nothing(job: Job, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CLOCK)
    out = tmp_path / "out"
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    spec = tmp_path / "spec.json"
    spec.write_text(job.spec(out).canonical())
    done = veedor("run", str(spec), "--json", environment={"PYTHONPATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_local_rows(out).equals(job.rows)
    result = last_event(done.stdout)
    (run,) = (json.loads(path.read_text()) for path in (out / "_veedor" / "runs").iterdir())
    for facts in (result, run):
        assert 0 < facts["startup_s"] <= facts["wall_s"] < 3600
        assert 0 < facts["images_per_s"] < 1e5
    events = [json.loads(line) for line in done.stdout.splitlines()]
    elapsed = [event["elapsed_s"] for event in events if event["event"] == "progress"]
    assert elapsed == sorted(elapsed)
    assert min(elapsed) >= 0
    record(
        "Clock jumping by a day each second", attack="driver and workers", trials=1, differences=0, failures=0
    )


def test_a_clock_unlike_the_store_s_is_named(ceph_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(ceph_s3, monkeypatch)
    bucket = new_bucket(ceph_s3)
    sound = botocore.auth.get_current_datetime

    def tomorrow(*arguments: object, **options: object) -> datetime.datetime:
        now: datetime.datetime = sound(*arguments, **options)
        return now + datetime.timedelta(days=1)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", tomorrow)
    with pytest.raises(CredentialsRefused, match="clock is too far from the store's"):
        open_store("s3://").read(f"s3://{bucket}/photo.jpg")


def test_credentials_that_a_process_renews_are_renewed(
    ceph_s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at(ceph_s3, monkeypatch)
    bucket = new_bucket(ceph_s3)
    given = {
        "Version": 1,
        "AccessKeyId": os.environ["AWS_ACCESS_KEY_ID"],
        "SecretAccessKey": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    expiry = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)
    (tmp_path / "given").write_text(json.dumps(given | {"Expiration": expiry.isoformat()}))
    (tmp_path / "config").write_text(
        f"[profile short]\nregion = us-east-1\n"
        f"credential_process = sh -c 'echo >> {tmp_path}/asked; cat {tmp_path}/given'\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    spec = AnnotateSpec.model_validate(
        {
            "source": {"uri": f"s3://{bucket}/in/"},
            "sink": {"uri": f"s3://{bucket}/out/"},
            "storage": {"profile": "short", "endpoint_url": ceph_s3.url},
        }
    )
    store = open_store("s3://", spec.storage.access(attempts=2))
    for turn in range(3):
        store.put(f"s3://{bucket}/{turn}", b"x")
    asked = len((tmp_path / "asked").read_text().splitlines())
    assert asked > 1, "credentials about to expire are asked for again"
    (tmp_path / "given").unlink()
    with pytest.raises(CredentialsRefused):
        open_store("s3://", spec.storage.access(attempts=2)).read(f"s3://{bucket}/0")
