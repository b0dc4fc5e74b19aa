"""Which specs can be put on a schedule, and what is kept of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster.schedules.adding import check_ticks, keepable_spec
from cluster.schedules.placeholders import filled
from cluster.schedules.schedule import Schedule
from cluster.schedules.zones import find_zone
from cvcore.errors import SpecError

NOON = datetime(2026, 11, 29, 23, 30, tzinfo=UTC)
SCAN: dict[str, Any] = {
    "job": "scan",
    "source": {"uri": "s3://line3/incoming/"},
    "model": {"name": "models/line3/"},
    "sink": {"uri": "s3://line3/scans/"},
}
ANNOTATE: dict[str, Any] = {"source": {"uri": "in/{date}"}, "sink": {"uri": "s3://fleet/out/{date}/"}}


def test_a_spec_is_kept_whole_and_without_relative_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = keepable_spec(SCAN, name="line3.yaml")
    assert kept["model"]["name"] == f"{tmp_path}/models/line3"
    assert kept["limits"]["max_failed_fraction"] == 1.0
    assert keepable_spec(kept, name="again") == kept
    annotate = keepable_spec(ANNOTATE, name="annotate.yaml")
    assert annotate["source"]["uri"] == f"{tmp_path}/in/{{date}}"
    assert annotate["model"]["name"] == "tiny"
    published = {"name": "ssd300_vgg16", "weights": "torchvision://ssd300_vgg16"}
    assert (
        keepable_spec({**ANNOTATE, "model": published}, name="x")["model"]["weights"] == published["weights"]
    )


def test_places_are_filled_with_the_date_in_the_schedules_zone() -> None:
    spec = {**ANNOTATE, "model": {"name": "{date}"}, "sink": {"uri": "s3://x/{tick}/{date}"}}
    found = filled(spec, NOON, find_zone("Asia/Tokyo"))
    assert found["source"]["uri"] == "in/2026-11-30"
    assert found["sink"]["uri"] == "s3://x/20261129T233000Z/2026-11-30"
    assert found["model"]["name"] == "{date}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"modle": {}}, ["line.yaml is not valid", "Did you mean 'model'"], id="the spec's own"),
        pytest.param({"job": "scna"}, ["there is no job 'scna'", "Did you mean 'scan'"], id="no job"),
        pytest.param({"source": {"uri": "s3://x/{day}"}}, ["there is no {day}", "{date}"], id="no place"),
        pytest.param({"sink": {"uri": "s3://x/out"}}, ["s3://x/out/{date}/", "later ticks"], id="one sink"),
        pytest.param(
            {**SCAN, "sink": {"uri": "s3://x/{date}"}}, ["take {date} and {tick} out"], id="a scan by date"
        ),
        pytest.param(
            {"storage": {"secret_access_key": "hush"}}, ["secret_access_key: there is no such key"], id="key"
        ),
        pytest.param(
            {"storage": {"endpoint_url": "https://me:hush@s3.local"}}, ["storage.endpoint_url"], id="endpoint"
        ),
        pytest.param(
            {"model": {"name": "x.cfg", "weights": "https://x/w?X-Amz-Signature=hush"}},
            ["model.weights holds what looks like a secret"],
            id="signed",
        ),
        pytest.param(
            {"source": {"uri": "s3://in/{date}", "include": ["AKIAABCDEFGHIJKLMNOP"]}},
            ["source.include[0] holds what looks like a secret"],
            id="in a list",
        ),
    ],
)
def test_a_spec_that_cannot_be_scheduled_is_refused(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(SpecError) as error:
        keepable_spec({**ANNOTATE, **change}, name="line.yaml")
    for word in words:
        assert word in str(error.value)
    assert "hush" not in str(error.value)
    assert "AKIA" not in str(error.value)


@pytest.mark.parametrize(
    ("cron", "sink", "words"),
    [
        pytest.param("0 2 * * *", "s3://out/{date}", None, id="one a day"),
        pytest.param("0 2,14 * * *", "s3://out/{tick}", None, id="two a day by instant"),
        pytest.param("0 2,14 * * *", "s3://out/{date}", "would both write to s3://out/2026-", id="two a day"),
        pytest.param("0 2 * * *", "s3://in/{date}", "sink.uri is the source itself", id="its own source"),
    ],
)
def test_the_specs_of_the_next_ticks_are_looked_at(cron: str, sink: str, words: str | None) -> None:
    spec = keepable_spec({"source": {"uri": "s3://in/{date}/"}, "sink": {"uri": "s3://x/{tick}"}}, name="x")
    spec["sink"]["uri"] = sink
    content = {"name": "x", "cron": cron, "timezone": "UTC", "spec": spec, "definition": 1, "since": NOON}
    schedule = Schedule.model_validate(content)
    assert json.loads(schedule.model_dump_json())["spec"] == spec
    if words is None:
        check_ticks(schedule)
    else:
        with pytest.raises(SpecError, match=words):
            check_ticks(schedule)
