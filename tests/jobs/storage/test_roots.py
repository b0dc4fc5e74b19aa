"""The operator's roots: nothing outside of them is read or written, whatever a spec says."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cvcore.errors import SpecError
from jobs.storage import Access, AccessRefused, StorageError, open_stage_store, open_store, resolve_location
from jobs.storage.roots import VARIABLE, environment_roots, is_allowed

S3 = (("s3://fleet/a", "s3://other"),)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An allowed folder beside one that is not, each with a file."""
    for name in ("data", "data-evil", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jpg").write_bytes(b"x")
    monkeypatch.setenv(VARIABLE, f"{tmp_path}/data{os.pathsep}s3://fleet/a/")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://fleet/a", True),
        ("s3://fleet/a/b.jpg", True),
        ("s3://fleet/a//b.jpg", True),
        ("s3://fleet/a/%2e%2e/b.jpg", True),  # a key like others: nothing decodes it
        ("s3://other/any/thing", True),
        ("s3://fleet/ab", False),
        ("s3://fleet/", False),
        ("s3://fleet//a/b.jpg", False),
        ("s3://fleet/A/b.jpg", False),
        ("s3://fleet/a/../b.jpg", False),
        ("s3://fleet/a/./b.jpg", False),
        ("s3://fleet/a/..", False),
        ("s3://other-bucket/x", False),
        ("s3://fleet-evil/a/x", False),
        ("/fleet/a", False),
    ],
)
def test_object_storage(uri: str, allowed: bool) -> None:
    assert is_allowed(uri, S3) is allowed


def test_without_roots_everything_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert environment_roots() == ()
    assert is_allowed("s3://any/../thing", ())
    assert is_allowed("/etc/passwd", ())


@pytest.mark.parametrize("text", ["", " ", os.pathsep, "data", "http://x/", "s3://", "/a" + os.pathsep + "b"])
def test_roots_that_say_nothing_allow_nothing(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(SpecError):
        open_store("/tmp")


def test_local_paths(data: Path) -> None:
    assert open_store(str(data)).read(str(data / "x.jpg")) == b"x"
    (data / "inner").symlink_to(data / "x.jpg")
    assert open_store(str(data)).read(str(data / "inner")) == b"x"
    (data / "out").symlink_to(data.parent / "elsewhere")
    (data / "file").symlink_to(data.parent / "elsewhere" / "x.jpg")
    outside = ["../data-evil", "../elsewhere/x.jpg", "out", "out/x.jpg", "file", "..", "out/../../data-evil"]
    for name in outside:
        for uri in (resolve_location(str(data / name)), resolve_location(f"//{data}/{name}")):
            with pytest.raises(SpecError, match="outside of the allowed"):
                open_store(uri)


@pytest.mark.parametrize("name", ["../elsewhere/x.jpg", "out/x.jpg", "file"])
def test_a_store_that_is_open_refuses_each_call(data: Path, name: str) -> None:
    (data / "out").symlink_to(data.parent / "elsewhere")
    (data / "file").symlink_to(data.parent / "elsewhere" / "x.jpg")
    store, uri = open_stage_store(s3=False, access=Access()), str(data / name)
    calls = [
        lambda: store.read(uri),
        lambda: store.stat(uri),
        lambda: store.exists(uri),
        lambda: store.put(uri, b"y"),
        lambda: store.create(uri + "2", b"y", writer="w") if name != "file" else store.read(uri),
        lambda: store.delete(uri),
        lambda: store.list_names(str(Path(uri).parent)) if name != "file" else store.read(uri),
        lambda: list(store.walk(uri)),
    ]
    for call in calls:
        with pytest.raises(AccessRefused, match="outside of the allowed"):
            call()
    assert [p.name for p in (data.parent / "elsewhere").iterdir()] == ["x.jpg"]


def test_roots_go_with_the_job_and_the_workers_own_count_too(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(SpecError, match="outside of the allowed"):
        open_store(str(data.parent / "elsewhere"), access)
    monkeypatch.setenv(VARIABLE, str(data.parent / "elsewhere"))
    for name in ("data", "elsewhere"):
        with pytest.raises(SpecError, match="outside of the allowed"):
            open_store(str(data.parent / name), access)


def test_s3_is_refused_before_a_connection(data: Path) -> None:
    del data
    access = Access(endpoint_url="http://127.0.0.1:9", attempts=1)
    with pytest.raises(SpecError, match="outside of the allowed"):
        open_store("s3://fleet/b", access)
    store = open_stage_store(s3=True, access=access)
    for uri in ("s3://fleet/b/x", "s3://fleet/a/../b/x"):
        with pytest.raises(AccessRefused):
            store.read(uri)


def test_links_put_in_place_after_planning_are_not_followed(tmp_path: Path) -> None:
    """Without the operator's roots: reading is confined to the job's own source."""
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.jpg").write_bytes(b"a")
    (tmp_path / "secret").write_bytes(b"s")
    store = open_stage_store(s3=False, access=Access().within(str(source)))
    assert store.read(str(source / "a.jpg")) == b"a"
    (source / "a.jpg").unlink()
    (source / "a.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(AccessRefused):
        store.read(str(source / "a.jpg"))


def test_a_link_that_flickers_is_never_followed(tmp_path: Path) -> None:
    source, stop = tmp_path / "in", threading.Event()
    source.mkdir()
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "a.jpg").write_bytes(b"good")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "a.jpg").write_bytes(b"evil")
    (source / "sub").mkdir()
    (source / "sub" / "a.jpg").write_bytes(b"good")

    def flicker() -> None:
        (source / "link").symlink_to(tmp_path / "evil")
        while not stop.is_set():
            (source / "sub").rename(source / "away")
            (source / "link").rename(source / "sub")
            (source / "sub").rename(source / "link")
            (source / "away").rename(source / "sub")

    store, seen = open_stage_store(s3=False, access=Access().within(str(source))), set()
    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        for _ in range(3000):
            try:
                seen.add(store.read(str(source / "sub" / "a.jpg")))
            except StorageError as error:
                seen.add(type(error).__name__)
    finally:
        stop.set()
        thread.join()
    assert b"good" in seen
    assert b"evil" not in seen


def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    store = open_stage_store(s3=False, access=Access().within(str(tmp_path)))
    assert store.read(str(tmp_path / "a.jpg")) == b""


def test_folders_that_may_be_passed_but_not_listed(tmp_path: Path) -> None:
    (tmp_path / "closed" / "in").mkdir(parents=True)
    (tmp_path / "closed" / "in" / "a.jpg").write_bytes(b"a")
    (tmp_path / "closed").chmod(0o311)
    store = open_stage_store(s3=False, access=Access().within(str(tmp_path / "closed" / "in")))
    try:
        assert store.read(str(tmp_path / "closed" / "in" / "a.jpg")) == b"a"
    finally:
        (tmp_path / "closed").chmod(0o755)
