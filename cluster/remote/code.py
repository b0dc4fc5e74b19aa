"""The package that a submission ships: the spec, and the code that is to run it, as one zip file.

Ray keeps packages by the digest of their bytes, so equal ones are sent once; this one's bytes depend on
nothing but what it holds.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from cvcore.errors import SpecError

PACKAGES = ("cvcore", "jobs", "cluster")
SPEC_NAME = "veedor-spec.json"
DRIVER = "cluster/remote/driver.py"
MAX_CODE_BYTES = 64 * 2**20
_NUM_SHOWN = 3
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Code:
    """Files by their names in the package, and the version of veedor that they are."""

    version: str
    files: Mapping[str, bytes]


def find_code(choice: str) -> Code:
    """The code to ship.

    Args:
        choice: `tree`, what runs here; `installed`, none, since the cluster has it; or a wheel of veedor.

    Raises:
        SpecError: if there is no such wheel, or there is too much to ship.
    """
    if choice == "installed":
        return Code(metadata.version("veedor"), {})
    code = _read_wheel(Path(choice)) if choice.endswith(".whl") else None
    if code is None:
        if choice != "tree":
            raise SpecError(f"--code is tree, installed or a wheel (.whl), not {choice!r}")
        code = Code(metadata.version("veedor"), dict(_tree()))
    size = sum(map(len, code.files.values()))
    if size > MAX_CODE_BYTES:
        largest = sorted(code.files, key=lambda name: len(code.files[name]), reverse=True)[:_NUM_SHOWN]
        shown = ", ".join(f"{name} ({len(code.files[name]) / 2**20:.1f} MiB)" for name in largest)
        raise SpecError(
            f"the code to ship has {size / 2**20:.0f} MiB, at most {MAX_CODE_BYTES / 2**20:.0f} are sent to "
            f"each node; the largest: {shown}. Move data out of the packages, or install veedor on the "
            "cluster and submit with --code installed"
        )
    return code


def write_package(path: Path, code: Code, spec: str) -> str:
    """Write the zip file; returns the SHA-256 of the spec in it, by which the driver knows it."""
    body = spec.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in sorted({**code.files, SPEC_NAME: body}.items()):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            package.writestr(entry, content)
    return hashlib.sha256(body).hexdigest()


def _tree() -> Iterator[tuple[str, bytes]]:
    """The packages as they lie here, and the metadata that says which version they are."""
    for package in PACKAGES:
        found = util.find_spec(package)
        assert found is not None
        assert found.submodule_search_locations is not None, f"{package} is a package of this project"
        (folder,) = found.submodule_search_locations
        root = Path(folder)
        for path in root.rglob("*"):
            name = path.relative_to(root.parent)
            if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in name.parts:
                yield name.as_posix(), path.read_bytes()
    distribution = metadata.distribution("veedor")
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    yield f"veedor-{distribution.version}.dist-info/METADATA", text.encode()


def _read_wheel(path: Path) -> Code:
    try:
        with zipfile.ZipFile(path) as wheel:
            files = {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}
    except (OSError, zipfile.BadZipFile) as error:
        raise SpecError(f"cannot read the wheel {path}: {error}") from error
    if DRIVER not in files or not path.name.startswith("veedor-"):
        raise SpecError(f"{path} is no wheel of veedor that can be submitted: it lacks {DRIVER}")
    return Code(path.name.split("-")[1], files)
