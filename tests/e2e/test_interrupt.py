"""Ending a driver at any time and running the same command again gives the undisturbed run's rows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.corpus import good_image, good_name, toy_model
from tests.runs import last_event, read_rows, veedor, veedor_command
from tests.s3_files import client, new_bucket, upload, upload_model
from tests.s3_servers import S3Server

NUM_IMAGES = 480
IMAGES_PER_UNIT = 8


@pytest.fixture(scope="module")
def arguments(best_s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`veedor annotate` of 480 images on S3, less `--out`."""
    bucket = new_bucket(best_s3)
    names = [good_name(index) for index in range(NUM_IMAGES)]
    images = {f"in/{name}": good_image(i, kind) for i, (name, kind) in enumerate(names)}
    upload(best_s3, bucket, images)
    model = upload_model(best_s3, bucket, toy_model(tmp_path_factory.mktemp("toy")))
    return [
        "annotate", f"s3://{bucket}/in/", "--model", model["name"], "--weights", model["weights"],
        "--labels", model["labels"], "--batch-size", "4", "--json",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(arguments: list[str], best_s3: S3Server) -> str:
    out = _out(arguments, "whole")
    done = veedor(*arguments, "--out", out, environment=best_s3.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_rerun_completes_what_an_ended_driver_began(
    ending: signal.Signals, arguments: list[str], undisturbed: str, s3_environment: S3Server
) -> None:
    out = _out(arguments, ending.name)
    driver = subprocess.Popen(
        veedor_command(*arguments, "--out", out),
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for_parts(s3_environment, out, at_least=3)
    driver.send_signal(ending)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == (130 if ending == signal.SIGINT else -signal.SIGKILL)
    if ending == signal.SIGINT:
        assert "run the same command again" in last_event(output)["message"]
    _wait_until_quiet(s3_environment, out)
    published = _parts(s3_environment, out)
    assert 3 <= len(published) < NUM_IMAGES // IMAGES_PER_UNIT, (
        "the driver was ended too late to prove anything"
    )

    again = veedor(*arguments, "--out", out)
    assert again.returncode == 0, again.stdout + again.stderr
    result = last_event(again.stdout)
    assert result["counts"] == {**result["counts"], "inputs": NUM_IMAGES, "ok": NUM_IMAGES, "failed": 0}
    parts = _parts(s3_environment, out)
    assert {name: parts[name] for name in published} == published, "a published part was written again"
    progress = [json.loads(line) for line in again.stdout.splitlines()]
    last = [event for event in progress if event["event"] == "progress"][-1]
    assert last["stages"]["decode"]["ok"] == NUM_IMAGES - len(published) * IMAGES_PER_UNIT
    assert read_rows(out).equals(read_rows(undisturbed))


@pytest.mark.usefixtures("s3_environment")
def test_two_drivers_of_one_job_give_one_result(arguments: list[str], undisturbed: str) -> None:
    out = _out(arguments, "two")
    drivers = [
        subprocess.Popen(veedor_command(*arguments, "--out", out), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [driver.communicate(timeout=240)[0] for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    assert read_rows(out).equals(read_rows(undisturbed))
    assert last_event(outputs[0])["counts"] == last_event(outputs[1])["counts"]


def _out(arguments: list[str], name: str) -> str:
    bucket = arguments[1].removeprefix("s3://").partition("/")[0]
    return f"s3://{bucket}/out-{name}-{os.getpid()}"


def _parts(server: S3Server, out: str) -> dict[str, tuple[str, object]]:
    """Part name to its digest and the time it was written."""
    bucket, _, prefix = out.removeprefix("s3://").partition("/")
    found = client(server).list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/data/").get("Contents", [])
    return {item["Key"]: (item["ETag"], item["LastModified"]) for item in found}


def _wait_for_parts(server: S3Server, out: str, *, at_least: int) -> None:
    deadline = time.monotonic() + 120
    while len(_parts(server, out)) < at_least:
        assert time.monotonic() < deadline, "no parts appeared"
        time.sleep(0.02)


def _wait_until_quiet(server: S3Server, out: str) -> None:
    """Workers of a killed driver may publish for a moment more."""
    before, quiet_since = _parts(server, out), time.monotonic()
    while time.monotonic() - quiet_since < 3:
        time.sleep(0.2)
        if (now := _parts(server, out)) != before:
            before, quiet_since = now, time.monotonic()
