"""The doctor's look at this machine: facts and what they mean, as tables; and the machine itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cluster.doctor.codecs import check_codecs, judge_pictures, judge_videos
from cluster.doctor.finding import Finding, Level, has_problem, ok, problem, warning
from cluster.doctor.gpu import Device, GpuFacts, check_gpus, judge_gpus
from cluster.doctor.machine import MachineFacts, check_machine, judge_machine
from cluster.doctor.versions import find_constraints, judge_versions, read_constraints

GIB = 2**30
H100 = Device("H100", (9, 0), 70 * GIB, 80 * GIB)
GPUS = GpuFacts(1, "580.65", "2.14.1", "13.0", ((8, 0), (9, 0)), (H100,))
MACHINE = MachineFacts("/tmp", 100 * GIB, 200 * GIB, 8 * GIB, 64 * GIB, 1024, 2**20)


def worst(found: list[Finding]) -> tuple[Level, str]:
    """The first finding of the gravest kind."""
    order: list[Level] = ["problem", "warning", "ok"]
    first = min(found, key=lambda each: order.index(each.level))
    return first.level, f"{first.text} -> {first.remedy}"


@pytest.mark.parametrize(
    ("facts", "level", "text"),
    [
        pytest.param(GPUS, "ok", "70.0 GiB of 80.0 GiB free", id="works"),
        pytest.param(replace(GPUS, device_files=0, devices=()), "ok", "jobs run on CPUs", id="none"),
        pytest.param(
            replace(GPUS, cuda=None, devices=()), "problem", "is a build for CPUs", id="build for CPUs"
        ),
        pytest.param(
            replace(GPUS, devices=(), reason="The NVIDIA driver on your system is too old"),
            "problem",
            "with driver 580.65, and PyTorch 2.14.1 for CUDA 13.0 can use none: The NVIDIA driver",
            id="old driver",
        ),
        pytest.param(replace(GPUS, devices=(), driver=None), "problem", "driver unknown", id="no driver"),
        pytest.param(
            replace(GPUS, devices=(replace(H100, capability=(7, 0)),)),
            "problem",
            "capability 7.0, for which PyTorch 2.14.1 has no code",
            id="too old a GPU",
        ),
        pytest.param(
            replace(GPUS, devices=(replace(H100, capability=(12, 0)),)), "problem", "12.0", id="too new a GPU"
        ),
        pytest.param(
            replace(GPUS, devices=(replace(H100, capability=(8, 6)),)), "ok", "works", id="minor versions fit"
        ),
        pytest.param(
            replace(GPUS, devices=(replace(H100, free=GIB),)), "warning", "1.0 GiB of 80", id="taken"
        ),
        pytest.param(
            replace(GPUS, devices=(H100, replace(H100, free=GIB))), "warning", "GPU 1", id="the second"
        ),
    ],
)
def test_gpus(facts: GpuFacts, level: Level, text: str) -> None:
    found = worst(list(judge_gpus(facts)))
    assert found[0] == level
    assert text in found[1]


@pytest.mark.parametrize(
    ("facts", "level", "text"),
    [
        pytest.param(MACHINE, "ok", "100.0 GiB of 200.0 GiB", id="roomy"),
        pytest.param(replace(MACHINE, disk_free=9 * GIB), "problem", "does not spill", id="95% full"),
        pytest.param(
            replace(MACHINE, disk_free=9 * GIB, disk_total=20 * GIB), "warning", "make room", id="small disk"
        ),
        pytest.param(replace(MACHINE, shared=64 * 2**20), "warning", "--shm-size", id="container's shared"),
        pytest.param(replace(MACHINE, shared=None), "ok", "free at /tmp", id="no /dev/shm"),
        pytest.param(replace(MACHINE, memory=GIB), "warning", "give it 4 GiB", id="little memory"),
        pytest.param(replace(MACHINE, files_most=1024), "warning", "ulimit", id="few files"),
    ],
)
def test_the_machine(facts: MachineFacts, level: Level, text: str) -> None:
    found = worst(list(judge_machine(facts)))
    assert found[0] == level
    assert text in found[1]


WANTED = [Requirement("ray>=2.60,<2.61"), Requirement("Pillow>=12"), Requirement("moto; extra == 'dev'")]


@pytest.mark.parametrize(
    ("installed", "tested", "level", "text"),
    [
        pytest.param({"ray": "2.60.0", "pillow": "13"}, None, "ok", "all 2 packages", id="as wanted"),
        pytest.param(
            {"ray": "2.61.0", "pillow": "13"},
            None,
            "problem",
            "ray 2.61.0, wanted <2.61,>=2.60",
            id="too new",
        ),
        pytest.param({"ray": "2.60.0"}, None, "problem", "Pillow is not installed", id="missing"),
        pytest.param(
            {"ray": "2.60.0", "pillow": "13"},
            {"ray": "2.60.0", "pillow": "12.1"},
            "warning",
            "pillow 13 (12.1)",
            id="another than tested",
        ),
        pytest.param(
            {"ray": "2.60.0", "pillow": "13"},
            {"ray": "2.60.0", "pillow": "13", "moto": "5"},
            "ok",
            "that was tested",
            id="as tested",
        ),
        pytest.param(
            {"ray": "2.60.0+local", "pillow": "13"}, {"ray": "2.60.0"}, "ok", "tested", id="local build"
        ),
    ],
)
def test_versions(installed: dict[str, str], tested: dict[str, str] | None, level: Level, text: str) -> None:
    found = worst(list(judge_versions(WANTED, installed, tested=tested)))
    assert found[0] == level
    assert text in found[1]


def test_the_checkouts_constraints_are_found() -> None:
    file = find_constraints()
    assert file == Path(__file__).parents[3] / "constraints.txt"
    assert read_constraints(file)["ray"].startswith("2.60")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(judge_pictures({"JPEG": True, "WEBP": False}), "does not read WEBP", id="pictures"),
        pytest.param(judge_videos(["hevc"], version="18.1"), "PyAV 18.1 does not read hevc", id="videos"),
    ],
)
def test_codecs_that_are_lacking(found: list[Finding], expected: str) -> None:
    level, text = worst(list(found))
    assert level == "problem"
    assert expected in text


def test_this_machine_can_run_the_tests() -> None:
    found = [*check_codecs(), *check_gpus(), *check_machine()]
    assert not has_problem(found), found
    assert {each.area for each in found} == {"codecs", "gpu", "machine"}


def test_a_finding_says_what_to_do_unless_all_is_well() -> None:
    assert not has_problem([ok("a", "b"), warning("a", "b", "c")])
    assert has_problem([problem("a", "b", "c")])
    for level, remedy in (("ok", "c"), ("problem", ""), ("warning", "")):
        with pytest.raises(ValueError, match="remedy"):
            Finding("a", level, "b", remedy)  # type: ignore[arg-type]
