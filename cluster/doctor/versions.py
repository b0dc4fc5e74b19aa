"""Whether the packages here are those that this version of veedor wants, and was tested with."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from cluster.doctor.finding import Finding, ok, problem, warning

AREA: Final = "versions"
PACKAGE: Final = "veedor"
CONSTRAINTS: Final = "constraints.txt"
MAX_SHOWN: Final = 5


def check_versions() -> Iterator[Finding]:
    """Look at this environment."""
    wanted = [Requirement(text) for text in metadata.requires(PACKAGE) or ()]
    installed: dict[str, str] = {
        canonicalize_name(found.metadata["Name"]): found.version for found in metadata.distributions()
    }
    file = find_constraints()
    yield from judge_versions(wanted, installed, tested=None if file is None else read_constraints(file))


def judge_versions(
    wanted: Iterable[Requirement], installed: Mapping[str, str], *, tested: Mapping[str, str] | None
) -> Iterator[Finding]:
    """Hold what is installed against what is wanted, and against what was tested.

    Args:
        wanted: the package's requirements; those of extras are passed over.
        installed: versions by name.
        tested: versions by name; None where they are not known.
    """
    needed = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    wrong = [
        f"{each.name} {installed.get(canonicalize_name(each.name), 'is not installed')}{_wanted(each)}"
        for each in needed
        if not _satisfied(each, installed)
    ]
    if wrong:
        yield problem(AREA, "; ".join(wrong), "pip install --constraint constraints.txt veedor")
    python = platform.python_version()
    if tested is None:
        if not wrong:
            yield ok(AREA, f"Python {python}, and all {len(needed)} packages are as wanted")
        return
    others = [
        f"{name} {installed[name]} ({version})"
        for name, version in sorted(tested.items())
        if name in installed and Version(installed[name]).public != Version(version).public
    ]
    if others:
        more = f" and {len(others) - MAX_SHOWN} more" if len(others) > MAX_SHOWN else ""
        yield warning(
            AREA,
            f"tested with other versions: {', '.join(others[:MAX_SHOWN])}{more}",
            "pip install --constraint constraints.txt veedor brings those in parentheses",
            others=others,
        )
    elif not wrong:
        yield ok(AREA, f"Python {python}, and every package is of the version that was tested")


def find_constraints() -> Path | None:
    """The file of a checkout, or the one that an installation brings."""
    places = (Path(__file__).parents[2], Path(sys.prefix) / "share" / PACKAGE)
    return next((place / CONSTRAINTS for place in places if (place / CONSTRAINTS).is_file()), None)


def read_constraints(path: Path) -> dict[str, str]:
    """Versions by name."""
    lines = (line.strip().split("==") for line in path.read_text().splitlines() if "==" in line)
    return {canonicalize_name(name): version for name, version in lines}


def _satisfied(wanted: Requirement, installed: Mapping[str, str]) -> bool:
    version = installed.get(canonicalize_name(wanted.name))
    return version is not None and wanted.specifier.contains(version, prereleases=True)


def _wanted(requirement: Requirement) -> str:
    return f", wanted {requirement.specifier}" if requirement.specifier else ""
