"""The spec: strict, canonical, and clear about what is wrong with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cvcore.errors import SpecError
from jobs.catalog import JOBS, find_job
from jobs.spec import AnnotateSpec, build_spec, load_yaml
from jobs.storage import resolve_location
from tests.data import ROOT

MINIMAL = {"source": {"uri": "s3://fleet/photos/"}, "sink": {"uri": "s3://fleet/out/"}}


def spec_of(**changes: Any) -> AnnotateSpec:
    return build_spec({**MINIMAL, **changes}, name="annotate.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param({"sorce": 1}, "sorce: there is no such key. Did you mean 'source'?", id="top key"),
        pytest.param({"model": {"wieghts": "x"}}, "model.wieghts: .*Did you mean 'weights'", id="inner key"),
        pytest.param({"sink": None}, "sink: ", id="null section"),
        pytest.param(
            {"annotate": {"min_score": 2}}, "annotate.min_score: .*less than or equal to 1", id="range"
        ),
        pytest.param({"model": {"sha256": "abc"}}, "model.sha256", id="digest"),
        pytest.param({"source": {"uri": "http://x/y"}}, "scheme 'http' is not allowed", id="scheme"),
        pytest.param({"source": {"uri": "file:///etc"}}, "plain path", id="file scheme"),
        pytest.param({"source": {"uri": "s3:///x"}}, "names no bucket", id="no bucket"),
        pytest.param({"limits": {"formats": ["JPG"]}}, "formats", id="format"),
        pytest.param({"sink": {"uri": "s3://fleet/photos"}}, "is the source itself", id="sink is source"),
        pytest.param({"version": 2}, "version", id="version"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(**content)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(modle={}, annotate={"min_score": -1, "nms": 3})
    assert len(str(caught.value).splitlines()) == 4


def test_a_missing_section_is_named() -> None:
    with pytest.raises(SpecError, match="source: this key is required"):
        build_spec({"sink": {"uri": "/out"}}, name="annotate.yaml")


def test_an_unknown_job_suggests_the_nearest() -> None:
    with pytest.raises(SpecError, match="Did you mean 'annotate'"):
        find_job({"job": "anotate"})


@pytest.mark.parametrize("name", JOBS)
def test_every_job_of_the_catalogue_is_what_it_says(name: str) -> None:
    entry = JOBS[name]
    assert entry.spec.model_fields["job"].default == name
    assert callable(entry.run)
    assert entry.purpose is None or callable(entry.purpose)


def test_a_finished_job_is_found_without_torch_ray_or_scipy() -> None:
    code = (
        "import sys; from jobs.catalog import find_job; find_job({}).spec; find_job({}).run; "
        "print({'torch', 'ray', 'scipy', 'PIL', 'faiss', 'constriction'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("text", ["a: [", "just words", "!!python/object/apply:os.system ['true']", ""])
def test_yaml_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"annotate\.yaml"):
        load_yaml(text, name="annotate.yaml")


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(LAUGHS, id="a billion laughs"),
        pytest.param("a: &a [*a]", id="a list in itself"),
        pytest.param("source: &s {uri: /in}\nsink: *s", id="an alias"),
        pytest.param("base: &b {uri: /in}\nsource: {<<: *b}", id="a merge"),
        pytest.param("[" * 100_000, id="nesting"),
        pytest.param("source: " + "{a: " * 5_000, id="nested mappings"),
        pytest.param("x: " + "9" * 100_000, id="a long number"),
        pytest.param("x: 2026-99-99", id="no date"),
        pytest.param("x: " + "y" * 2**21, id="length"),
        pytest.param("? {a: 1}\n: 2", id="a mapping as key"),
        pytest.param("source: !!python/object/apply:os.system ['touch canary']", id="apply"),
        pytest.param("source: !!python/name:os.system", id="name"),
        pytest.param("source: !!python/object/new:subprocess.Popen [[touch, canary]]", id="new"),
        pytest.param("source: !!python/module:antigravity", id="module"),
        pytest.param("source: !include /etc/passwd", id="include"),
    ],
)
def test_hostile_yaml_is_refused_in_bounded_time(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(SpecError, match=r"annotate\.yaml") as caught:
        load_yaml(text, name="annotate.yaml")
    assert time.monotonic() - started < 10
    assert len(str(caught.value)) < 2000
    assert list(tmp_path.iterdir()) == []


def test_messages_about_large_values_are_short() -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(model={"name": ["x" * 10_000] * 100})
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("url", ["http://key:secret@store", "file:///x", "http://"])
def test_endpoints_without_credentials_only(url: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_of(storage={"endpoint_url": url})
    assert "secret" not in str(caught.value)


def test_the_canonical_form_round_trips_and_fills_defaults() -> None:
    spec = spec_of(annotate={"min_score": 0.5})
    again = build_spec(load_yaml(spec.canonical(), name="x"), name="x")
    assert again == spec
    assert again.canonical() == spec.canonical()
    assert build_spec({**MINIMAL, "model": {"name": "tiny"}}, name="x").identity() == spec_of().identity()


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({"resources": {"actors": 7, "batch_size": 3}}, True, id="resources"),
        pytest.param({"limits": {"max_failed_fraction": 0.5}}, True, id="failure limit"),
        pytest.param({"storage": {"max_requests_per_s": 9, "timeout_s": 60}}, True, id="rate"),
        pytest.param({"storage": {"endpoint_url": "http://127.0.0.1:9"}}, False, id="endpoint"),
        pytest.param({"limits": {"max_pixels": 10}}, False, id="pixel limit"),
        pytest.param({"annotate": {"min_score": 0.3}}, False, id="threshold"),
        pytest.param({"source": {"uri": "s3://fleet/other/"}}, False, id="source"),
    ],
)
def test_identity_is_what_decides_the_rows(changes: dict[str, Any], same: bool) -> None:
    assert (spec_of(**changes).identity() == spec_of().identity()) is same


def test_processes_share_the_rate_of_the_job() -> None:
    storage = spec_of(storage={"max_requests_per_s": 100}).storage
    assert storage.access().max_requests_per_s == 100
    assert storage.access(processes=8).max_requests_per_s == 12.5
    assert spec_of().storage.access(processes=8).max_requests_per_s is None


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("s3://b", "s3://b"),
        ("s3://b/", "s3://b"),
        ("s3://b/k/", "s3://b/k/"),
        ("/a/b/", "/a/b"),
        ("/a//b", "/a/b"),
    ],
)
def test_locations_have_one_form(text: str, resolved: str) -> None:
    assert resolve_location(text) == resolved
