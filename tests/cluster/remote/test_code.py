"""The package that is shipped: whole, the same for the same content, and not too large."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cluster.remote import code as module
from cluster.remote.code import SPEC_NAME, Code, find_code, write_package
from cluster.remote.driver import read_submitted
from cvcore.errors import SpecError


def test_the_tree_that_runs_here_runs_from_the_package_alone(tmp_path: Path) -> None:
    digest = write_package(tmp_path / "package.zip", find_code("tree"), '{"job": "no-such-job"}')
    with zipfile.ZipFile(tmp_path / "package.zip") as package:
        names = package.namelist()
        package.extractall(tmp_path / "unpacked")
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert [name for name in names if name.endswith(".safetensors")], "shipped weights go along"
    where = (
        "import cluster, cvcore, jobs, importlib.metadata as m; print(cluster.__file__, m.version('veedor'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path / "unpacked", capture_output=True, text=True
    )
    assert done.stdout.startswith(str(tmp_path / "unpacked" / "cluster")), done.stderr
    driver = [sys.executable, "-m", "cluster.remote.driver", SPEC_NAME, "--sha256", digest]
    done = subprocess.run(driver, cwd=tmp_path / "unpacked", capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no job 'no-such-job'" in done.stdout


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    code = Code("1", {"b.py": b"2", "a.py": b"1"})
    for name in ("one", "two"):
        write_package(tmp_path / name, code, "{}")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    write_package(tmp_path / "three", code, '{"a": 1}')
    assert (tmp_path / "three").read_bytes() != (tmp_path / "one").read_bytes()


def test_a_wheel_goes_as_it_is(tmp_path: Path) -> None:
    wheel = tmp_path / "veedor-9.9-py3-none-any.whl"
    files = {"cluster/remote/driver.py": "pass", "veedor-9.9.dist-info/METADATA": "Version: 9.9"}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    assert find_code(str(wheel)) == Code("9.9", {name: text.encode() for name, text in files.items()})


def test_an_installed_veedor_takes_the_spec_alone(tmp_path: Path) -> None:
    write_package(tmp_path / "package.zip", find_code("installed"), "{}")
    assert zipfile.ZipFile(tmp_path / "package.zip").namelist() == [SPEC_NAME]


def test_other_wheels_and_words_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other-1.0.whl").write_bytes(b"no zip")
    with zipfile.ZipFile(tmp_path / "numpy-2.0.whl", "w") as archive:
        archive.writestr("numpy/__init__.py", "")
    for choice, message in {
        "git": "tree, installed or a wheel",
        str(tmp_path / "none.whl"): "cannot read the wheel",
        str(tmp_path / "other-1.0.whl"): "cannot read the wheel",
        str(tmp_path / "numpy-2.0.whl"): "is no wheel of veedor",
    }.items():
        with pytest.raises(SpecError, match=message):
            find_code(choice)


def test_too_much_is_said_with_what_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CODE_BYTES", 2**20)
    with pytest.raises(SpecError, match=r"the largest: cvcore/\S+ \(.* MiB\).*--code installed"):
        find_code("tree")


def test_a_spec_that_was_replaced_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    assert read_submitted(str(path), sha256=digest) == "{}"
    path.write_text('{"sink": "elsewhere"}')
    with pytest.raises(SpecError, match="the spec was replaced"):
        read_submitted(str(path), sha256=digest)
    with pytest.raises(SpecError, match="cannot read the submitted spec"):
        read_submitted(str(tmp_path / "none"), sha256=digest)
