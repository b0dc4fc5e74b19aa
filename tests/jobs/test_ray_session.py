"""A cluster that is not there is said to be, at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import ray

from cvcore.errors import SpecError
from jobs import ray_session as sessions
from jobs.outcome import JobFailed
from jobs.ray_session import ray_session
from tests.corpus import good_image
from tests.runs import last_event, veedor


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_an_address_where_nothing_answers_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(good_image(0))
    where = f"127.0.0.1:{free_port()}"
    done = veedor("annotate", str(tmp_path / "in"), "--out", f"{tmp_path}/out", "--address", where, "--json")
    assert done.returncode == 2
    message = last_event(done.stdout)["message"]
    assert f"the Ray cluster at {where} cannot be joined" in message
    assert "Check the address" in message
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("where", "kind", "message"),
    [
        ("auto", SpecError, "cannot be joined \\(no head"),
        ("local", JobFailed, "did not start on this machine \\(no head"),
    ],
)
def test_what_ray_raises_becomes_a_message(
    where: str, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**options: object) -> None:
        del options
        raise Exception("no head\nand many more lines")

    monkeypatch.setattr(sessions.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(sessions.ray, "shutdown", lambda: None)
    monkeypatch.setattr(sessions.ray, "init", fail)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(kind, match=message), ray_session(address=where):
        pass


def test_a_cluster_that_answers_is_joined_or_used(ray_cluster: None) -> None:
    del ray_cluster
    sessions._check_answers(ray.get_runtime_context().gcs_address)
    with ray_session() as session:
        assert session.shape.num_cpus == 2


def test_a_token_that_ray_has_is_shown_to_the_cluster_that_is_joined(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del ray_cluster
    assert os.environ["RAY_AUTH_MODE"] == "token", "Ray's default for a cluster that it starts"
    monkeypatch.delenv("RAY_AUTH_MODE")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(good_image(0))
    paths = [str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    where = ray.get_runtime_context().gcs_address
    done = veedor("propose", *paths, "--strategy", "single", "--address", where, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
