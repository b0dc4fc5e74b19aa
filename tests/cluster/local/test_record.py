"""What is kept of a local cluster: whole, private, and believed only where it is true."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local.lifecycle import take_down
from cluster.local.processes import Process
from cluster.local.record import (
    LocalCluster,
    NodeRecord,
    forget,
    read_record,
    record_path,
    save_record,
    token_path,
    up_here,
)
from cluster.local.starting import node_environment
from cluster.state import private_folder, write_private
from cvcore.errors import SpecError

THIS = Process.of(os.getpid())
assert THIS is not None
GONE = Process(THIS.pid, THIS.started - 1)


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    before = os.umask(0o022)
    yield
    os.umask(before)


def cluster(process: Process, tmp_path: Path, *, name: str = "local", complete: bool = True) -> LocalCluster:
    nodes = (NodeRecord("head", process, 0, 0), NodeRecord("worker-1", process, 2.5, 1))
    return LocalCluster(name, f"http://127.0.0.1:1/{name}", str(tmp_path / "ray"), nodes, complete)


def test_a_record_comes_back_as_it_was_and_no_one_else_reads_it(tmp_path: Path) -> None:
    kept = cluster(THIS, tmp_path)
    save_record(kept)
    assert read_record("local") == kept
    assert stat.S_IMODE(record_path("local").stat().st_mode) == 0o600
    assert stat.S_IMODE(record_path("local").parent.stat().st_mode) == 0o700


def test_a_private_file_replaces_one_that_all_could_read(tmp_path: Path) -> None:
    path = private_folder(tmp_path / "kept") / "token"
    path.write_text("old")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_only_whole_clusters_that_run_are_up(tmp_path: Path) -> None:
    assert up_here() == []
    save_record(cluster(THIS, tmp_path, name="a"))
    save_record(cluster(GONE, tmp_path, name="b"))
    save_record(cluster(THIS, tmp_path, name="c", complete=False))
    assert [each.name for each in up_here()] == ["a"]


def test_a_damaged_record_is_said_to_be_and_nothing_is_ended(tmp_path: Path) -> None:
    save_record(cluster(THIS, tmp_path))
    record_path("local").write_text('{"nodes": [{"role": "head"}]}')
    with pytest.raises(SpecError, match="does not say which processes"):
        take_down("local")


def test_taking_down_what_has_died_removes_what_it_left_and_ends_no_one(tmp_path: Path) -> None:
    dead = cluster(GONE, tmp_path)
    Path(dead.temp_dir).mkdir()
    save_record(dead)
    write_private(token_path("local"), "secret")
    take_down("local")
    assert read_record("local") is None
    assert not token_path("local").exists()
    assert not Path(dead.temp_dir).exists()
    assert THIS is not None
    assert THIS.is_alive()
    with pytest.raises(SpecError, match="no cluster 'local' was brought up here"):
        take_down("local")


def test_what_is_up_is_named_where_another_is_asked_for(tmp_path: Path) -> None:
    save_record(cluster(GONE, tmp_path, name="line3"))
    with pytest.raises(SpecError, match="up are: line3"):
        take_down("local")
    kept = read_record("line3")
    assert kept is not None
    forget(kept)


def test_nodes_have_credentials_and_the_tokens_file_but_no_address_or_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    environment = node_environment("local", ("0", "1"))
    assert environment["AWS_SECRET_ACCESS_KEY"] == "s3cret"
    assert environment["RAY_AUTH_TOKEN_PATH"] == str(token_path("local"))
    assert environment["RAY_AUTH_MODE"] == "token"
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN"} & environment.keys()
    assert environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    logical = node_environment("local", None)
    assert "CUDA_VISIBLE_DEVICES" not in logical
    assert logical["VEEDOR_LOGICAL_GPUS"] == "1"
