"""Whether the GPUs of this machine can be used by the PyTorch that is installed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.doctor.finding import Finding, ok, problem, warning

AREA: Final = "gpu"
MIN_FREE_FRACTION: Final = 0.2
_DRIVER = re.compile(r"Kernel Module(?: for \w+)?\s+(\d+(?:\.\d+)+)")


@dataclass(frozen=True)
class Device:
    """A GPU as PyTorch sees it; memory in bytes."""

    name: str
    capability: tuple[int, int]
    free: int
    total: int


@dataclass(frozen=True)
class GpuFacts:
    """What is known of this machine's GPUs.

    Attributes:
        device_files: how many GPUs the driver shows.
        driver: its version; None where there is none.
        torch: PyTorch's version.
        cuda: what PyTorch was built for; None for a build for CPUs.
        compiled: architectures that it has code for, such as (8, 0).
        devices: those that PyTorch can use.
        reason: why it can use none; empty where it can.
    """

    device_files: int
    driver: str | None
    torch: str
    cuda: str | None
    compiled: tuple[tuple[int, int], ...]
    devices: tuple[Device, ...]
    reason: str = ""


def check_gpus() -> Iterator[Finding]:
    """Look at this machine."""
    return judge_gpus(gpu_facts())


def judge_gpus(facts: GpuFacts) -> Iterator[Finding]:
    """What the facts mean for jobs."""
    if not facts.devices:
        yield _none(facts)
        return
    for number, device in enumerate(facts.devices):
        name = f"GPU {number} ({device.name})"
        if facts.compiled and not _has_code(device.capability, facts.compiled):
            yield problem(
                AREA,
                f"{name} has compute capability {_dotted(device.capability)}, for which PyTorch "
                f"{facts.torch} has no code",
                "install a PyTorch that has (pytorch.org lists which), or use another GPU",
            )
        elif device.free < MIN_FREE_FRACTION * device.total:
            yield warning(
                AREA,
                f"{name} has {_gib(device.free)} of {_gib(device.total)} free",
                "see who holds the rest (nvidia-smi), or give jobs less (resources.gpus_per_actor)",
            )
        else:
            yield ok(
                AREA,
                f"{name} works: {_gib(device.free)} of {_gib(device.total)} free, PyTorch {facts.torch} "
                f"for CUDA {facts.cuda}, driver {facts.driver or 'unknown'}",
                free_bytes=device.free,
                total_bytes=device.total,
            )


def _none(facts: GpuFacts) -> Finding:
    if not facts.device_files:
        return ok(AREA, f"no GPU here: jobs run on CPUs (PyTorch {facts.torch})")
    seen = f"{facts.device_files} GPU{'s' * (facts.device_files != 1)} here"
    if facts.cuda is None:
        return problem(
            AREA,
            f"{seen}, and PyTorch {facts.torch} is a build for CPUs",
            "install the build for CUDA (pip install torch, from PyPI), or the image without FLAVOR=cpu",
        )
    return problem(
        AREA,
        f"{seen} with driver {facts.driver or 'unknown'}, and PyTorch {facts.torch} for CUDA {facts.cuda} "
        f"can use none: {facts.reason or 'it gives no reason'}",
        "install a driver that is new enough for this CUDA, see that CUDA_VISIBLE_DEVICES is not empty, and "
        "that a container was started with GPUs (--gpus all, or nvidia.com/gpu)",
    )


def _has_code(capability: tuple[int, int], compiled: tuple[tuple[int, int], ...]) -> bool:
    """Whether there is code for a device: of its own major version and no newer, as CUDA's binaries go."""
    major, minor = capability
    return any(has[0] == major and has[1] <= minor for has in compiled)


def gpu_facts() -> GpuFacts:
    """Ask the driver and PyTorch; the latter runs a small product on each device."""
    import torch

    reason = ""
    devices: list[Device] = []
    try:
        for number in range(torch.cuda.device_count()):
            ones = torch.ones(64, 64, device=f"cuda:{number}")
            assert float((ones @ ones).sum()) == 64**3
            free, total = torch.cuda.mem_get_info(number)
            properties = torch.cuda.get_device_properties(number)
            devices.append(Device(properties.name, (properties.major, properties.minor), free, total))
        if not devices and torch.version.cuda is not None:
            torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        devices = []
    return GpuFacts(
        device_files=len([path for path in Path("/dev").glob("nvidia*") if path.name[6:].isdigit()]),
        driver=_driver_version(Path("/proc/driver/nvidia/version")),
        torch=str(torch.__version__),
        cuda=torch.version.cuda,
        compiled=tuple(map(_architecture, torch.cuda.get_arch_list())) if devices else (),
        devices=tuple(devices),
        reason=reason,
    )


def _driver_version(path: Path) -> str | None:
    try:
        found = _DRIVER.search(path.read_text())
    except OSError:
        return None
    return found[1] if found else None


def _architecture(name: str) -> tuple[int, int]:
    """`sm_90` or `compute_120` as (9, 0) and (12, 0); suffixes such as `sm_90a` name features."""
    digits = "".join(filter(str.isdigit, name))
    return int(digits[:-1]), int(digits[-1])


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
