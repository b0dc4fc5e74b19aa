"""Nothing imports upwards: cvcore knows neither jobs nor cluster nor the network, jobs not the cluster."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data import ROOT

NETWORK = (
    "aiobotocore",
    "aiohttp",
    "boto3",
    "botocore",
    "fsspec",
    "http",
    "httpx",
    "requests",
    "s3fs",
    "socket",
    "torch.hub",
    "urllib.request",
    "urllib3",
)
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "cvcore": ("ray", "jobs", "cluster", "tests", "benchmarks", *NETWORK),
    "jobs": ("cluster", "tests", "benchmarks"),
    "cluster": ("tests", "benchmarks"),
}


def imported_names(source: str, *, package: str = "") -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a module's text imports: at the top, in functions, or for types.

    `from a import b` gives `a.b`, since b may be a module. `package` is what relative imports start from.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}".lstrip(".")) for alias in node.names)
        elif isinstance(node, ast.Call) and _calls_import(node.func) and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, name.value


def _calls_import(function: ast.expr) -> bool:
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return called in ("import_module", "__import__")


def upward_imports(folder: Path) -> list[str]:
    """`file:line imports name` of every forbidden import below `folder`, whose name is the layer's."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        package = ".".join(path.relative_to(folder.parent).parent.parts)
        for line, name in imported_names(path.read_text(encoding="utf-8"), package=package):
            if any(name == bad or name.startswith(f"{bad}.") for bad in FORBIDDEN[folder.name]):
                found.append(f"{path.relative_to(folder.parent)}:{line} imports {name}")
    return found


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_no_layer_imports_upwards(layer: str) -> None:
    assert len(list((ROOT / layer).rglob("*.py"))) > 1
    assert upward_imports(ROOT / layer) == []


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("cvcore", "import ray"),
        ("cvcore", "import ray.data as rd"),
        ("cvcore", "from jobs.spec import AnnotateSpec"),
        ("cvcore", "def f():\n    from cluster import cli"),
        ("cvcore", "from urllib import request"),
        ("cvcore", "import urllib.request"),
        ("cvcore", "from torch import hub"),
        ("cvcore", "if TYPE_CHECKING:\n    import s3fs"),
        ("cvcore", "import importlib\nimportlib.import_module('jobs.plan')"),
        ("cvcore", "from ... import jobs"),
        ("jobs", "from cluster.cli import main"),
        ("jobs", "import os, cluster"),
        ("cluster", "from tests.data import ROOT"),
    ],
)
def test_a_planted_import_is_found(layer: str, text: str, tmp_path: Path) -> None:
    module = tmp_path / layer / "inner" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(text + "\n", encoding="utf-8")
    (message,) = upward_imports(tmp_path / layer)
    assert message.startswith(f"{layer}/inner/module.py:")


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("cvcore", "from urllib.parse import urlsplit\nimport torch\nfrom cvcore.types import InputSpec"),
        ("cvcore", "import rayleigh\nfrom cvcore.jobs_of_others import x"),
        ("cvcore", "from ..types import InputSpec\nfrom . import fit"),
        ("jobs", "import ray\nimport requests\nfrom cvcore.errors import SpecError"),
        ("cluster", "from jobs.spec import AnnotateSpec"),
    ],
)
def test_imports_that_are_allowed(layer: str, text: str, tmp_path: Path) -> None:
    module = tmp_path / layer / "inner" / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(text + "\n", encoding="utf-8")
    assert upward_imports(tmp_path / layer) == []
