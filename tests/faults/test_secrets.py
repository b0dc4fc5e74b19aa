"""A job's credentials appear in nothing that it leaves: outputs, Ray's logs and tables, what it prints."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.corpus import good_image, good_name, toy_model
from tests.runs import ROOT
from tests.s3_servers import S3Server

NUM_IMAGES = 16

# The command, with what Ray's tables hold written to a file before they go.
DRIVER = """
import os
import ray
import ray._private.state
from ray._private.worker import global_worker

end = ray.shutdown


def dump_and_end(*arguments, **options):
    if ray.is_initialized():
        tables = [repr((ray._private.state.actors(), ray._private.state.jobs(), ray.nodes())).encode()]
        for namespace in (None, b"fun", b"job", b"session", b"cluster", b"dashboard", b"usage"):
            for key in global_worker.gcs_client.internal_kv_keys(b"", namespace):
                tables += [key, global_worker.gcs_client.internal_kv_get(key, namespace) or b""]
        with open(os.environ["TABLES"], "wb") as file:
            file.write(b" ".join(tables))
    end(*arguments, **options)


ray.shutdown = dump_and_end
from cluster.cli import main

main()
"""


@dataclass(frozen=True)
class Canaries:
    """Secrets that mean nothing and are easily found."""

    environment: dict[str, str]
    needles: tuple[bytes, ...]


@pytest.fixture(params=["environment", "profile"])
def canaries(request: pytest.FixtureRequest, tmp_path: Path) -> Canaries:
    secret, token = f"canary-secret-{secrets.token_hex(12)}", f"canary-token-{secrets.token_hex(12)}"
    values = {"AWS_ACCESS_KEY_ID": "AKIACANARY", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token}
    needles = (secret.encode(), token.encode())
    if request.param == "environment":
        return Canaries(values, needles)
    lines = ["[canary]", *(f"{name.lower()} = {value}" for name, value in values.items())]
    (tmp_path / "credentials").write_text("\n".join(lines) + "\n")
    return Canaries({"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}, needles)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="vr-", dir="/tmp"))  # short: Ray's sockets live in it
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("ending", ["done", "failed"])
def test_no_secret_is_left_anywhere(
    ending: str, canaries: Canaries, moto_s3: S3Server, tmp_path: Path, ray_folder: Path
) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=moto_s3.url,
        aws_access_key_id="anyone",
        aws_secret_access_key="anything",
        region_name="us-east-1",
    )
    bucket = f"canary-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=bucket)
    for index in range(NUM_IMAGES):
        name, image_format = good_name(index)
        s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=good_image(index, image_format))
    model = toy_model(tmp_path / "toy")
    command = [
        sys.executable, "-c", DRIVER, "annotate", f"s3://{bucket}/in/", "--out", f"s3://{bucket}/out/", "-v",
        "--model", model["name"], "--weights", model["weights"], "--labels", model["labels"],
        "--endpoint-url", moto_s3.url, "--region", "us-east-1",
    ]  # fmt: skip
    if "AWS_SHARED_CREDENTIALS_FILE" in canaries.environment:
        command += ["--profile", "canary"]
    if ending == "failed":
        command += ["--actors", "999"]  # refused once the cluster is up
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": str(ray_folder), "TABLES": str(tmp_path / "tables")}
    done = subprocess.run(
        command, env={**clean, **canaries.environment, **environment}, capture_output=True, timeout=300
    )
    assert done.returncode == (0 if ending == "done" else 2), done.stdout + done.stderr

    seen = {"printed": done.stdout + done.stderr, "Ray's tables": (tmp_path / "tables").read_bytes()}
    for path in ray_folder.rglob("*"):
        if path.is_file():
            seen[str(path)] = path.read_bytes()
    for item in s3.list_objects_v2(Bucket=bucket, Prefix="out/").get("Contents", ()):
        answer = s3.get_object(Bucket=bucket, Key=item["Key"])
        seen[item["Key"]] = answer["Body"].read() + repr(answer["Metadata"]).encode()
    assert sum(bucket.encode() in body for body in seen.values()) >= 2, "the search sees what is there"
    leaks = [name for name, body in seen.items() if any(needle in body for needle in canaries.needles)]
    assert leaks == []
    if ending == "done":
        assert sum(name.startswith("out/data/part-") for name in seen) == 2
