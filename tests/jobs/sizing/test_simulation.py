"""The simulated pipeline against what arithmetic says of its extremes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cvcore.errors import SpecError
from jobs.resources import plan_resources
from jobs.sizing import simulation
from jobs.sizing.fleet import Fleet, Hazards, NodeType
from jobs.sizing.simulation import Outcome, simulate
from jobs.sizing.workload import StageTimes, Workload
from jobs.spec import ResourcesSection

CANVAS_BYTES = 320 * 320 * 3
TIMES = StageTimes(
    image_bytes=100e3,
    request_s=0.02,
    decode_s=0.005,
    infer_s=0.01,
    encode_s=0.01,
    put_s=0.05,
    driver_s=0.001,
    startup_s=10,
)
PLAIN, WITH_GPU = NodeType(cpus=8), NodeType(cpus=8, gpus=1)


def job(num_images: int = 100_000, **times: float) -> Workload:
    return Workload(num_images, CANVAS_BYTES, replace(TIMES, **times))


@pytest.mark.parametrize("node", [PLAIN, WITH_GPU], ids=["whole units", "stages"])
def test_every_unit_is_published_once_whatever_happens(node: NodeType) -> None:
    hazards = Hazards(node_mtbf_h=0.02, unit_crash=0.05, restart_s=2, straggler=0.1)
    work = job(20_000)
    calm, stormy = (simulate(work, Fleet(node, 3), hazards=each) for each in (None, hazards))
    assert stormy.nodes_lost > 0
    assert stormy.units_redone > 0
    assert stormy.wall_s > calm.wall_s
    assert calm.nodes_lost == calm.units_redone == 0
    assert stormy.simulated_units == calm.simulated_units == work.num_units


def test_the_same_question_has_the_same_answer_and_another_seed_another() -> None:
    fleet, hazards = Fleet(WITH_GPU, 2), Hazards(node_mtbf_h=0.1)
    first, again, other = (simulate(job(), fleet, hazards=hazards, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.wall_s != other.wall_s


def rate_on(node: NodeType, nodes: int = 1, requests_per_s: float | None = None, **times: float) -> Outcome:
    return simulate(job(spread=0, **times), Fleet(node, nodes, requests_per_s))


def test_cores_bound_a_job_without_gpus() -> None:
    found = rate_on(PLAIN)
    actors = plan_resources(ResourcesSection(), Fleet(PLAIN, 1).shape).actors
    unit = job().unit_size
    expected = actors * unit / (unit * (TIMES.decode_s + TIMES.infer_s) + TIMES.encode_s)
    assert found.images_per_s == pytest.approx(expected, rel=0.03)
    assert found.bottleneck == "cores"
    assert found.busy["cores"] > 0.95


def test_late_answers_bound_one_unit_at_a_time_and_hide_behind_two() -> None:
    """Reading 256 images over 8 connections takes as long as computing: a second unit fills the wait."""
    read_s = 8 * (TIMES.decode_s + TIMES.infer_s)
    quick, late = rate_on(PLAIN), rate_on(PLAIN, request_s=0.5 * read_s)
    assert late.images_per_s > 0.8 * quick.images_per_s
    later = rate_on(PLAIN, request_s=20 * read_s)
    assert later.busy["cores"] < 0.2


@pytest.mark.parametrize("gpus", [1, 2])
def test_gpus_bound_a_job_that_feeds_them(gpus: int) -> None:
    found = rate_on(NodeType(cpus=16, gpus=gpus), infer_s=0.004)
    assert found.images_per_s == pytest.approx(gpus / 0.004, rel=0.03)
    assert found.bottleneck == "replicas"


def test_cores_that_decode_bound_a_job_that_starves_its_gpu() -> None:
    found = rate_on(WITH_GPU, infer_s=0.0001, decode_s=0.02)
    resources = found.resources
    free = 8 - resources.cpus_per_actor
    assert found.bottleneck == "decoding"
    assert found.images_per_s < free / resources.decode_cpus / 0.02
    assert found.images_per_s > 0.5 * free / resources.decode_cpus / 0.02


def test_the_driver_bounds_how_many_units_are_handed_out() -> None:
    found = rate_on(WITH_GPU, nodes=8, infer_s=0.0001, decode_s=0.0001, request_s=0.0, driver_s=0.1)
    assert found.images_per_s == pytest.approx(job().unit_size / 0.1, rel=0.02)
    assert found.bottleneck == "driver"


def test_the_store_bounds_what_it_is_asked() -> None:
    found = rate_on(PLAIN, nodes=4, requests_per_s=50.0)
    unit = job().unit_size
    assert found.images_per_s == pytest.approx(50 * unit / (unit + 1), rel=0.05)
    assert found.bottleneck == "store"


def test_the_network_bounds_what_is_large() -> None:
    node = NodeType(cpus=8, bytes_per_s=1e8)
    found = rate_on(node, image_bytes=5e6, request_s=0.001)
    assert found.images_per_s == pytest.approx(1e8 / 5e6, rel=0.05)
    assert found.bottleneck == "network"


def test_what_is_extrapolated_agrees_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    work, fleet = job(1_500_000), Fleet(PLAIN, 2)
    part = simulate(work, fleet)
    assert part.simulated_units < work.num_units
    monkeypatch.setattr(simulation, "MAX_UNITS_EACH", 10**6)
    whole = simulate(work, fleet)
    assert whole.simulated_units == work.num_units
    assert part.wall_s == pytest.approx(whole.wall_s, rel=0.02)
    assert part.images_per_s == pytest.approx(whole.images_per_s, rel=0.02)


@pytest.mark.parametrize("node", [PLAIN, WITH_GPU], ids=["whole units", "stages"])
def test_more_machines_are_never_slower(node: NodeType) -> None:
    walls = [simulate(job(), Fleet(node, nodes)).wall_s for nodes in (1, 2, 4, 8)]
    assert walls == sorted(walls, reverse=True)
    assert walls[0] > 3 * walls[-1]


def test_one_unit_and_one_image() -> None:
    found = simulate(job(1, spread=0), Fleet(PLAIN, 1))
    alone_s = 2 * TIMES.read_s  # at least
    assert found.simulated_units == 1
    assert found.wall_s > TIMES.startup_s + alone_s / 8
    assert found.images_per_s > 0


def test_what_does_not_fit_is_refused_as_a_job_would() -> None:
    with pytest.raises(SpecError, match="9 actors of 4 CPUs"):
        simulate(job(), Fleet(PLAIN, 1), asked=ResourcesSection(actors=9, cpus_per_actor=4))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: NodeType(cpus=0), "needs CPUs", id="no CPUs"),
        pytest.param(lambda: Fleet(PLAIN, 0), "num_nodes must be at least 1, got 0", id="no machines"),
        pytest.param(lambda: Fleet(PLAIN, 1, 0.0), "requests_per_s must be above 0", id="no requests"),
        pytest.param(lambda: Hazards(unit_crash=1.0), "probability below 1, got 1.0", id="always crashes"),
        pytest.param(lambda: job(decode_s=0, infer_s=0), "must take time", id="no work"),
        pytest.param(lambda: job(decode_s=-1), "decode_s must be", id="negative"),
        pytest.param(lambda: job(0), "num_images must be at least 1", id="no images"),
    ],
)
def test_nonsense_is_refused(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(SpecError, match=words):
        make()
