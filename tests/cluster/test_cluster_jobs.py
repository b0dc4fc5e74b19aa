"""A cluster of three nodes, as a user has it: jobs over HTTP, from S3 to S3, while a node is killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from cluster.local.processes import Process, tree
from cluster.local.record import LocalCluster, NodeRecord
from cvcore.scenes.video import VideoSceneSpec, render_video_scene
from cvcore.video.encode import VideoWriter
from jobs.calibrate import run_calibrate
from jobs.catalog import find_job
from jobs.progress import SilentListener
from jobs.scan_spec import CalibrateSpec
from jobs.spec import validate_spec
from jobs.storage import Access, open_store
from tests.corpus import good_image, good_name, toy_model
from tests.plates import write_model, write_plates
from tests.runs import last_event, read_rows, veedor, veedor_command
from tests.s3_files import client, new_bucket, upload, upload_model
from tests.s3_servers import S3Server

NUM_IMAGES = 96
REQUESTS_PER_S = 24.0
WAIT_S = 240
BAD = "in/zz-bad.jpg"


@dataclass(frozen=True)
class Up:
    """The cluster, and the environment in which its user types."""

    facts: dict[str, Any]
    environment: dict[str, str]
    state: Path

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    @property
    def token(self) -> str:
        return Path(self.facts["token_file"]).read_text().strip()

    @property
    def record(self) -> LocalCluster:
        content = json.loads((self.state / "veedor" / "clusters" / "local" / "cluster.json").read_text())
        nodes = tuple(NodeRecord(**{**n, "process": Process(**n["process"])}) for n in content.pop("nodes"))
        return LocalCluster(**content, nodes=nodes)

    def veedor(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return veedor(*arguments, environment=self.environment)

    def submitted(self) -> list[str]:
        listed = self.veedor("list", "--json").stdout
        return [json.loads(line)["submission_id"] for line in listed.splitlines()]

    def processes(self) -> frozenset[Process]:
        return frozenset[Process]().union(*(tree(node.process) for node in self.record.nodes))


@pytest.fixture(scope="module")
def up(best_s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A head and two workers of two CPUs, whose environment has the store's credentials."""
    state = tmp_path_factory.mktemp("state")
    environment = {**best_s3.environment, "XDG_STATE_HOME": str(state), "RAY_ADDRESS": ""}
    done = veedor("up", "--port", "0", "--cpus", "2", "--json", environment=environment)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield Up(last_event(done.stdout), environment, state)
    finally:
        veedor("down", environment=environment)


@pytest.fixture(scope="module")
def bucket(best_s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Images, one of them broken; a video; a toy detector."""
    name, folder = new_bucket(best_s3), tmp_path_factory.mktemp("inputs")
    names = [good_name(index) for index in range(NUM_IMAGES - 1)]
    images = {f"in/{name}": good_image(index, kind) for index, (name, kind) in enumerate(names)}
    upload(best_s3, name, {**images, BAD: b"no image"})
    scene = VideoSceneSpec(num_frames=40, width=240, height=180)
    path = folder / "line.mp4"
    with VideoWriter(path, fps=scene.fps, width=scene.width, height=scene.height, keyframe_interval=10) as to:
        for frame in render_video_scene(7, scene):
            to.write(frame.image)
    upload(best_s3, name, {"videos/line.mp4": path.read_bytes()})
    upload_model(best_s3, name, toy_model(folder))
    return name


def annotate_content(server: S3Server, bucket: str, out: str) -> dict[str, Any]:
    """So slowly that something can happen meanwhile; an actor does not fit beside another."""
    return {
        "source": {"uri": f"s3://{bucket}/in/"},
        "model": {
            part: f"s3://{bucket}/models/toy.{end}"
            for part, end in {"name": "cfg", "weights": "weights", "labels": "names"}.items()
        },
        "storage": {"endpoint_url": server.url, "max_requests_per_s": REQUESTS_PER_S},
        "resources": {"actors": 2, "cpus_per_actor": 1.2, "batch_size": 4},
        "limits": {"max_failed_fraction": 0.001},
        "sink": {"uri": f"s3://{bucket}/{out}", "images_per_unit": 8},
    }


def track_content(server: S3Server, bucket: str, out: str) -> dict[str, Any]:
    return {
        "job": "track",
        "source": {"uri": f"s3://{bucket}/videos/"},
        "storage": {"endpoint_url": server.url},
        "resources": {"actors": 1, "cpus_per_actor": 0.5, "batch_size": 4},
        "sink": {"uri": f"s3://{bucket}/{out}"},
    }


def scan_content(server: S3Server, bucket: str, out: str) -> dict[str, Any]:
    return {
        "job": "scan",
        "source": {"uri": f"s3://{bucket}/plates/"},
        "model": {"name": f"s3://{bucket}/models/plates/"},
        "storage": {"endpoint_url": server.url},
        "resources": {"actors": 1, "cpus_per_actor": 0.5, "batch_size": 4},
        "sink": {"uri": f"s3://{bucket}/{out}"},
    }


def write_spec(content: dict[str, Any], folder: Path) -> str:
    path = folder / f"{content.get('job', 'annotate')}.yaml"
    path.write_text(json.dumps(content))
    return str(path)


def run_here(content: dict[str, Any], **resources: Any) -> None:
    """The same job on the test session's own cluster, without haste being taken out of it."""
    content = {**content, "storage": {"endpoint_url": content["storage"]["endpoint_url"]}}
    content["resources"] = {**content["resources"], **resources}
    job = find_job(content)
    job.run(validate_spec(content, job.spec, name="test"), listener=SilentListener())


def rows_of(server: S3Server, uri: str) -> pa.Table:
    table = read_rows(uri, access=Access(endpoint_url=server.url))
    keys = [(name, "ascending") for name in ("uri", "frame_index")]
    return table.sort_by(keys).combine_chunks().replace_schema_metadata()


def listening(pids: set[int]) -> dict[tuple[str, int], int]:
    """(address, port) of each TCP socket that one of the processes listens on, and which."""
    owners = {}
    for pid in pids:
        for entry in _descriptors(pid):
            if entry.startswith("socket:["):
                owners[entry[8:-1]] = pid
    found = {}
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            host, port = fields[1].split(":")
            if fields[3] == "0A" and fields[9] in owners:
                words = [int(host[at : at + 8], 16) for at in range(0, len(host), 8)]
                address = socket.inet_ntop(family, b"".join(struct.pack("=I", word) for word in words))
                found[address.removeprefix("::ffff:"), int(port, 16)] = owners[fields[9]]
    return found


def _descriptors(pid: int) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield str(entry.readlink())


def ask(url: str, *, token: str | None, body: bytes | None = None) -> int:
    """The status of an answer."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_all_of_it_listens_on_loopback_alone(up: Up) -> None:
    found = listening({process.pid for process in up.processes()})
    assert ("127.0.0.1", int(up.url.rpartition(":")[2])) in found
    assert len(found) > 10, "of three nodes each has several servers"
    assert {address for address, _ in found} == {"127.0.0.1"}


def test_without_the_token_nothing_is_answered_or_started(up: Up) -> None:
    body = json.dumps({"entrypoint": "touch /tmp/veedor-was-here", "submission_id": "intruder"}).encode()
    for path in ("/api/version", "/api/jobs/", "/api/v0/nodes"):
        assert ask(up.url + path, token=None) == 401
        assert ask(up.url + path, token="wrong") == 403
    assert ask(f"{up.url}/api/jobs/", token=None, body=body) == 401
    assert ask(f"{up.url}/api/version", token=up.token) == 200
    assert "intruder" not in up.veedor("list", "--all", "--json").stdout
    wrong = veedor("list", "--json", "--token-file", __file__, environment=up.environment)
    assert wrong.returncode == 2
    assert "holds no token" in last_event(wrong.stdout)["message"]


def test_it_is_not_brought_up_twice(up: Up) -> None:
    again = up.veedor("up", "--port", "0", "--json")
    assert again.returncode == 2
    assert f"is up at {up.url} already" in last_event(again.stdout)["message"]
    assert all(node.process.is_alive() for node in up.record.nodes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"resources": {"gpus_per_actor": 1}}, "the cluster has 0 GPUs", id="more GPUs"),
        pytest.param({"resources": {"actors": 9}}, "9 actors of .* do not fit", id="more actors"),
        pytest.param({"job": "anotate"}, "there is no job 'anotate'", id="job"),
    ],
)
def test_what_cannot_run_there_is_refused_before_anything_is_sent(
    changes: dict[str, Any], message: str, up: Up, best_s3: S3Server, tmp_path: Path
) -> None:
    content = annotate_content(best_s3, "no-matter", "out") | changes
    refused = up.veedor("submit", write_spec(content, tmp_path), "--json")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert re.search(message, last_event(refused.stdout)["message"])
    assert up.submitted() == []


@pytest.mark.usefixtures("ray_cluster", "s3_environment")
def test_a_node_is_killed_and_the_rows_are_those_of_a_local_run(
    up: Up, best_s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    content = annotate_content(best_s3, bucket, "annotated")
    spec = write_spec(content, tmp_path)
    first = up.veedor("submit", spec, "--json")
    assert first.returncode == 0, first.stdout + first.stderr
    submission_id = last_event(first.stdout)["submission_id"]

    follower = subprocess.Popen(
        veedor_command("submit", spec, "--follow", "--json", "--address", up.url),
        env={**os.environ, **up.environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    joined = json.loads(follower.stdout.readline())
    assert (joined["submission_id"], joined["started"]) == (submission_id, False)
    next(line for line in follower.stdout if "Planned" in line)
    follower.send_signal(signal.SIGINT)
    rest, _ = follower.communicate(timeout=60)
    assert follower.returncode == 130
    for words in (
        f"detached: {submission_id} goes on",
        f"veedor logs {submission_id} --address {up.url} --follow",
    ):
        assert words in last_event(rest)["message"]

    published = _wait_for_parts(best_s3, bucket, "annotated/data/", at_least=3)
    (victim,) = [node for node in up.record.nodes if node.role == "worker-2"]
    os.kill(victim.process.pid, signal.SIGKILL)
    assert published < NUM_IMAGES // 8, "the node was killed too late to prove anything"
    status = json.loads(up.veedor("status", submission_id, "--json").stdout.splitlines()[1])
    assert status["status"] == "RUNNING"
    assert status["progress"]["total"] == NUM_IMAGES
    assert up.submitted() == [submission_id]

    followed = up.veedor("logs", submission_id, "--follow", "--json")
    assert followed.returncode == 3, followed.stdout[-3000:] + followed.stderr
    assert "limits.max_failed_fraction = 0.001" in last_event(followed.stdout)["message"]
    run_here(annotate_content(best_s3, bucket, "annotated-here"), actors=1)
    rows = rows_of(best_s3, f"s3://{bucket}/annotated")
    assert rows.num_rows == NUM_IMAGES
    assert rows.equals(rows_of(best_s3, f"s3://{bucket}/annotated-here"))

    refused = up.veedor("submit", spec, "--json")
    assert refused.returncode == 2, "two actors have no room on the node that is left"
    assert "room for 1 such actors" in last_event(refused.stdout)["message"]
    content["resources"]["actors"] = 1
    again = up.veedor("submit", write_spec(content, tmp_path), "--follow", "--json")
    assert again.returncode == 3
    assert json.loads(again.stdout.splitlines()[0])["attempt"] == 2
    assert '"outcome": "already finished"' in again.stdout


@pytest.mark.usefixtures("ray_cluster", "s3_environment")
def test_tracks_and_scans_are_those_of_a_local_run(
    up: Up, best_s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    write_plates(tmp_path / "plates", 24)
    model = write_model(tmp_path / "model")
    run_calibrate(
        CalibrateSpec.model_validate(
            {
                "source": {"uri": str(tmp_path / "plates")},
                "model": {"name": f"{model}/"},
                "sink": {"uri": str(model)},
            }
        ),
        listener=SilentListener(),
    )
    upload(
        best_s3,
        bucket,
        {f"models/plates/{path.name}": path.read_bytes() for path in model.iterdir() if path.is_file()},
    )
    plates = sorted((tmp_path / "plates").rglob("*.png"))
    upload(best_s3, bucket, {f"plates/{path.name}": path.read_bytes() for path in plates})
    specs = [
        write_spec(content(best_s3, bucket, name), tmp_path)
        for content, name in ((track_content, "tracked"), (scan_content, "scanned"))
    ]
    started = [last_event(up.veedor("submit", spec, "--json").stdout) for spec in specs]
    run_here(track_content(best_s3, bucket, "tracked-here"))
    run_here(scan_content(best_s3, bucket, "scanned-here"))
    for event in started:
        done = up.veedor("logs", event["submission_id"], "--follow")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Results: " in done.stdout
    for name in ("tracked", "tracked/detections", "scanned/scans/000001"):
        top, _, below = name.partition("/")
        rows = rows_of(best_s3, f"s3://{bucket}/{name}")
        assert rows.num_rows
        assert rows.equals(rows_of(best_s3, f"s3://{bucket}/{top}-here/{below}".rstrip("/"))), name
    tracks = [_read(best_s3, f"s3://{bucket}/{name}/tracks.parquet") for name in ("tracked", "tracked-here")]
    assert tracks[0].num_rows > 0
    assert tracks[0].equals(tracks[1])

    done = up.veedor("submit", specs[0], "--json")
    assert last_event(done.stdout)["started"] is False, "what succeeded stands"
    found = up.veedor("status", "track")
    assert "done after" in found.stdout
    assert f"s3://{bucket}/tracked" in found.stdout


def test_a_wrong_source_exits_with_2_and_a_job_that_is_stopped_with_1(
    up: Up, best_s3: S3Server, bucket: str, tmp_path: Path
) -> None:
    content = annotate_content(best_s3, bucket, "stopped")
    content["resources"]["actors"] = 1
    spec = write_spec(content, tmp_path)
    started = up.veedor("submit", spec, "--json")
    assert started.returncode == 0, started.stdout + started.stderr
    submission_id = last_event(started.stdout)["submission_id"]
    elsewhere = annotate_content(best_s3, bucket, "never")
    elsewhere["resources"]["actors"] = 1
    wrong = write_spec({**elsewhere, "source": {"uri": "s3://no-such-bucket-here/in/"}}, tmp_path)
    failed = up.veedor("submit", wrong, "--follow", "--json")
    assert failed.returncode == 2
    assert "there is no bucket 'no-such-bucket-here'" in last_event(failed.stdout)["message"]
    stopped = up.veedor("stop", submission_id, "--json")
    assert stopped.returncode == 0
    assert last_event(stopped.stdout)["status"] == "STOPPED"
    assert up.veedor("logs", submission_id, "--follow").returncode == 1
    assert "is nothing to stop" in last_event(up.veedor("stop", submission_id, "--json").stdout)["text"]


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_job_that_is_not_there_is_said(command: str, up: Up) -> None:
    done = up.veedor(command, "veedor-annotate-000000000000-1", "--json")
    assert done.returncode == 2
    assert "there is no job 'veedor-annotate-000000000000-1'" in last_event(done.stdout)["message"]


def test_no_secret_is_in_what_the_cluster_keeps_of_its_jobs(up: Up, best_s3: S3Server) -> None:
    request = urllib.request.Request(f"{up.url}/api/jobs/", headers={"Authorization": f"Bearer {up.token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        kept = answer.read().decode()
    assert "veedor-annotate-" in kept
    secrets = [
        best_s3.environment["AWS_SECRET_ACCESS_KEY"],
        best_s3.environment["AWS_ACCESS_KEY_ID"],
        up.token,
    ]
    assert not [secret for secret in secrets if secret in kept]


@pytest.mark.usefixtures("ray_cluster")
def test_down_ends_all_of_it_and_nothing_else(up: Up) -> None:
    ours, record = up.processes(), up.record
    assert len(ours) > 10
    done = up.veedor("down", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [process for process in ours if process.is_alive()]
    assert not Path(record.temp_dir).exists()
    assert not Path(up.facts["token_file"]).exists()
    assert ray.get(ray.remote(lambda: "still here").remote()) == "still here"
    assert up.veedor("down", "--json").returncode == 2


def _wait_for_parts(server: S3Server, bucket: str, prefix: str, *, at_least: int) -> int:
    deadline = time.monotonic() + WAIT_S
    while True:
        found = client(server).list_objects_v2(Bucket=bucket, Prefix=prefix).get("KeyCount", 0)
        if found >= at_least:
            return int(found)
        assert time.monotonic() < deadline, "no parts appeared"
        time.sleep(0.1)


def _read(server: S3Server, uri: str) -> pa.Table:
    body = open_store(uri, Access(endpoint_url=server.url)).read(uri)
    return pq.read_table(pa.BufferReader(body)).replace_schema_metadata()
