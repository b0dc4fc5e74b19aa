"""Hundreds of files made to break decoders: each gives its outcome, in bounded time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.storage import Access, StorageError, open_store
from jobs.storage.locations import location_of_path
from tests.browsers import open_browser, quiet_page
from tests.corpus import good_image, toy_model
from tests.faults.hostile import KEYS, MAX_BYTES, MAX_PIXELS, NAMES, OK, corpus
from tests.faults.record import record
from tests.runs import ROOT, last_event, read_local_rows, read_rows, veedor
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server

# Above what the process holds before: a fixed share, and what the pixels of the file itself may take.
BASE_BYTES = 64 * 2**20
BYTES_PER_PIXEL = 24
# Each file takes a second at most on one idle core; test machines are neither idle nor fast.
MOST_SECONDS = 20.0


def test_each_file_has_its_outcome_in_bounded_time_and_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.hostile"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    cases = corpus()
    assert done.returncode == 0, f"ended behind {lines[-1:]}: {done.stderr[-2000:]}"
    assert [line["name"] for line in lines] == [case.name for case in cases]
    assert len(cases) >= 200
    for case, line in zip(cases, lines, strict=True):
        assert line["outcome"] in case.outcomes, line
        assert line["risen_bytes"] <= BASE_BYTES + BYTES_PER_PIXEL * case.pixels, line
        assert line["seconds"] <= MOST_SECONDS, line
    slowest, largest = (max(lines, key=lambda line: line[key]) for key in ("seconds", "risen_bytes"))
    outcomes = Counter(line["outcome"] for line in lines)
    record(
        "hostile files, decoded",
        attack="bombs, cuts, wrong lengths, polyglots, garbage metadata",
        trials=len(cases),
        differences=0,
        outcomes=", ".join(f"{code} {n}" for code, n in outcomes.most_common()),
        slowest=f"{slowest['name']} {slowest['seconds']:.1f} s",
        most_memory=f"{largest['name']} {largest['risen_bytes'] / 2**20:.0f} MiB",
        bound=f"{BASE_BYTES >> 20} MiB + {BYTES_PER_PIXEL} bytes a pixel",
    )


def test_a_local_job_over_all_of_them(toy: dict[str, str], tmp_path: Path) -> None:
    source = tmp_path / "in"
    bodies = _write_files(source)
    (source / "out.jpg").symlink_to("/etc/passwd")
    os.mkfifo(source / "pipe.jpg")
    done = _annotate(str(source), str(tmp_path / "out"), toy, tmp_path)
    rows = read_local_rows(tmp_path / "out").to_pylist()
    _check_rows(rows, bodies, Access())
    record(
        "hostile files and names, local",
        attack="all of them in one job",
        trials=len(bodies),
        differences=0,
        failures=0,
        rows_failed=last_event(done.stdout)["counts"]["failed"],
    )
    assert veedor("report", str(tmp_path / "out")).returncode == 0
    with (
        open_browser() as browser,
        quiet_page(browser, tmp_path / "out" / "report.html") as page,
    ):
        for tab in ("Empty", "Failures", "Sample"):
            page.get_by_role("tab", name=tab).click()
        assert page.locator(".card").count() > 0
        assert "\u202e" not in page.content()


def test_a_job_in_a_bucket_over_all_of_them(
    s3_environment: S3Server, toy: dict[str, str], tmp_path: Path
) -> None:
    bucket = new_bucket(s3_environment)
    bodies = {f"s3://{bucket}/in/corpus/{case.name}": case.body for case in corpus()}
    upload(s3_environment, bucket, {uri.split("/", 3)[3]: body for uri, body in bodies.items()})
    refused = []
    store = open_store(f"s3://{bucket}", Access(attempts=1))
    for number, name in enumerate(KEYS):
        uri, body = f"s3://{bucket}/in/{name}", good_image(number)
        try:
            store.put(uri, body)
        except StorageError:
            refused.append(name)
        else:
            bodies[uri] = body
    done = _annotate(f"s3://{bucket}/in/", f"s3://{bucket}/out/", toy, tmp_path)
    _check_rows(read_rows(f"s3://{bucket}/out/").to_pylist(), bodies, Access())
    assert len(refused) <= 3, refused
    record(
        f"hostile files and keys, {s3_environment.kind}",
        attack="all of them in one job",
        trials=len(bodies),
        differences=0,
        failures=0,
        rows_failed=last_event(done.stdout)["counts"]["failed"],
        keys_that_the_store_refuses=len(refused),
    )


@pytest.fixture
def toy(tmp_path: Path) -> dict[str, str]:
    return toy_model(tmp_path / "toy")


def _write_files(source: Path) -> dict[str, bytes]:
    """The corpus, and good pictures under strange names; returns the bytes by the location of the row."""
    (source / "corpus").mkdir(parents=True)
    bodies = {}
    for case in corpus():
        bodies[os.fsencode(source / "corpus" / case.name)] = case.body
    for number, name in enumerate(NAMES):
        bodies[os.fsencode(source) + b"/" + name] = good_image(number)
    for path, body in bodies.items():
        Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(body)
    return {location_of_path(os.fsdecode(path)): body for path, body in bodies.items()}


def _annotate(source: str, out: str, model: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    content = {
        "source": {"uri": source, "include": ["*"]},
        "model": model,
        "resources": {"batch_size": 8},
        "limits": {"max_pixels": MAX_PIXELS, "max_bytes": MAX_BYTES},
        "sink": {"uri": out},
    }
    spec = folder / "annotate.yaml"
    spec.write_text(yaml.safe_dump(content))
    done = veedor("run", str(spec), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done


def _check_rows(rows: list[dict[str, Any]], bodies: dict[str, bytes], access: Access) -> None:
    """One row for each file, under a location that opens the same bytes, with an outcome that it may have."""
    assert Counter(row["uri"] for row in rows) == Counter(list(bodies))
    allowed = {case.name: case.outcomes for case in corpus()}
    store = open_store(rows[0]["uri"], access)
    for row in rows:
        name = row["uri"].partition("/corpus/")[2]
        outcome = row["error_code"] or row["status"]
        assert outcome in allowed.get(name, OK), row
        assert row["error"] is None or len(row["error"]) < 3000
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda row: store.read(row["uri"], etag=row["etag"]), rows))
    assert [row["uri"] for row, body in zip(rows, read, strict=True) if body != bodies[row["uri"]]] == []
