"""The whole job over HTTP against an S3 server: good inputs, ten kinds of bad ones, and a rerun."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import duckdb
import pytest

from jobs.prepare import claim_job, prepare
from jobs.progress import SilentListener
from jobs.spec import build_spec
from tests.corpus import BAD_KINDS, MAX_BYTES, good_image, good_name, toy_model
from tests.runs import last_event, read_rows, veedor
from tests.s3_files import client, new_bucket, upload, upload_model
from tests.s3_servers import S3Server

NUM_GOOD = 900
NUM_BAD_OF_A_KIND = 10
READ_KINDS = {"missing", "changed"}


@pytest.fixture(scope="module")
def objects() -> dict[str, bytes]:
    """Key to bytes: 900 good images in six formats, and ten of each bad kind among them."""
    found = {}
    for index in range(NUM_GOOD):
        name, image_format = good_name(index)
        found[f"photos/day-{index % 5}/{name}"] = good_image(index, image_format)
    for kind, (extension, make) in BAD_KINDS.items():
        for index in range(NUM_BAD_OF_A_KIND):
            found[f"photos/day-{index % 5}/bad-{kind}-{index}.{extension}"] = make(index)
    return found


def test_a_thousand_inputs_of_which_a_hundred_are_bad(
    objects: dict[str, bytes], s3_environment: S3Server, tmp_path: Path
) -> None:
    bucket = new_bucket(s3_environment)
    upload(s3_environment, bucket, objects)
    upload(s3_environment, bucket, {"photos/notes.txt": b"not taken", "photos/.hidden.jpg": b"not listed"})
    model = upload_model(s3_environment, bucket, toy_model(tmp_path))
    source, out = f"s3://{bucket}/photos/", f"s3://{bucket}/annotations/"
    content = {
        "source": {"uri": source},
        "model": model,
        "resources": {"batch_size": 8},
        "limits": {"max_bytes": MAX_BYTES, "max_failed_fraction": 0.1},
        "sink": {"uri": out},
    }
    # Pin the plan, then take some objects away and change others, as a busy bucket does.
    silent = SilentListener()
    prepared = claim_job(prepare(build_spec(content, name="test"), listener=silent), listener=silent)
    assert prepared.plan.num_inputs == 1000
    assert prepared.record.skipped == {".txt": 1}
    s3 = client(s3_environment)
    for index in range(NUM_BAD_OF_A_KIND):
        s3.delete_object(Bucket=bucket, Key=f"photos/day-{index % 5}/bad-missing-{index}.jpg")
        changed = f"photos/day-{index % 5}/bad-changed-{index}.jpg"
        upload(s3_environment, bucket, {changed: good_image(index + 5000)})

    spec = tmp_path / "annotate.yaml"
    spec.write_text(_yaml(content))
    done = veedor("run", str(spec), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = last_event(done.stdout)
    assert result["counts"]["inputs"] == 1000
    assert result["counts"]["ok"] == 900
    assert result["counts"]["failed"] == 100
    assert result["failures"] == dict.fromkeys(sorted(BAD_KINDS), NUM_BAD_OF_A_KIND)

    rows = read_rows(out).to_pylist()
    assert [row["uri"] for row in rows] == sorted(f"s3://{bucket}/{key}" for key in objects)
    for row in rows:
        name = row["uri"].rpartition("/")[2]
        if name.startswith("good-"):
            assert (row["status"], row["error_code"], row["error"]) == ("ok", None, None), row
            assert row["detections"] is not None
        else:
            kind = name.split("-")[1]
            assert row["error_code"] == kind, row
            assert row["status"] == ("read" if kind in READ_KINDS else "decode")
            assert row["detections"] is None
            assert row["error"]
    assert Counter(row["status"] for row in rows) == {"ok": 900, "decode": 80, "read": 20}

    again = veedor("run", str(spec), "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert last_event(again.stdout)["outcome"] == "already finished"
    assert last_event(again.stdout)["counts"] == result["counts"]


@pytest.mark.usefixtures("s3_environment")
def test_results_open_as_they_are_in_duckdb(tmp_path: Path) -> None:
    images = tmp_path / "photos"
    images.mkdir()
    for index in range(20):
        name, image_format = good_name(index)
        (images / name).write_bytes(good_image(index, image_format))
    model = toy_model(tmp_path)
    done = veedor(
        "annotate", str(images), "--out", str(tmp_path / "out"), "--model", model["name"],
        "--weights", model["weights"], "--labels", model["labels"], "--min-score", "0.1", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "AWS" not in (tmp_path / "out/_veedor/job.json").read_text()
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
    files = f"{tmp_path}/out/data/*.parquet"
    query = f"select count(*), sum(len(detections)), min(len(detections[1].box)) from '{files}'"
    (found,) = duckdb.sql(query).fetchall()
    counts = last_event(done.stdout)["counts"]
    assert found[0] == counts["inputs"] == 20
    assert found[1] == counts["detections"] > 0
    assert found[2] == 4
    outside = duckdb.sql(
        f"""with d as (select width, height, unnest(detections).box b from '{files}')
            select count(*) from d where b[1] < 0 or b[2] < 0 or b[3] > width or b[4] > height
            or b[3] <= b[1] or b[4] <= b[2]"""
    ).fetchall()
    assert outside == [(0,)]


def _yaml(content: dict[str, object]) -> str:
    import yaml

    return yaml.safe_dump(content)
