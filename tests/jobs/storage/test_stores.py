"""Every store keeps the same promises: a local folder, and each S3 server there is."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.storage import (
    Access,
    AccessRefused,
    BucketMissing,
    ObjectChanged,
    ObjectMissing,
    Store,
    StoreUnreachable,
    join,
    open_store,
    probe_create_only,
)
from jobs.storage.ranged import BLOCK_BYTES
from tests.conftest import NO_CEPH, point_at
from tests.s3_files import new_bucket, upload
from tests.s3_servers import S3Server, ceph_is_installed

Place = tuple[Store, str]


@pytest.fixture(params=["local", "moto", "ceph"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """A store, and an empty folder in it."""
    if request.param == "local":
        return open_store(str(tmp_path)), str(tmp_path / "folder")
    if request.param == "ceph" and not ceph_is_installed():
        pytest.skip(NO_CEPH)
    server: S3Server = request.getfixturevalue(f"{request.param}_s3")
    point_at(server, monkeypatch)
    return open_store("s3://", Access(attempts=2)), f"s3://{new_bucket(server)}/folder"


def test_what_is_written_is_read_listed_and_deleted(place: Place) -> None:
    store, folder = place
    uri = join(folder, "a.bin")
    store.put(uri, b"one")
    store.put(uri, b"two")
    assert store.read(uri) == b"two"
    assert store.stat(uri).size == 3
    assert store.list_names(folder) == ["a.bin"]
    store.delete(uri)
    store.delete(uri)
    assert not store.exists(uri)
    with pytest.raises(ObjectMissing):
        store.read(uri)


def test_times_of_writing_are_the_stores_and_go_forward(place: Place) -> None:
    store, folder = place
    first, second = join(folder, "first"), join(folder, "second")
    store.create(first, b"x", writer="w")
    store.put(second, b"x")
    began = store.modified_at(first)
    assert timedelta() <= store.modified_at(second) - began < timedelta(seconds=30)
    assert abs(datetime.now(UTC) - began) < timedelta(seconds=30), "the servers run on this machine"
    while store.modified_at(first) == began:
        store.put(first, b"y")
    assert store.modified_at(first) > began
    with pytest.raises(ObjectMissing):
        store.modified_at(join(folder, "none"))


def test_create_never_changes_what_stands(place: Place) -> None:
    store, folder = place
    uri = join(folder, "part-00000.parquet")
    assert store.create(uri, b"first", writer="a") == "created"
    assert store.create(uri, b"first", writer="b") == "same"
    assert store.create(uri, b"second", writer="a") == "exists"
    assert store.read(uri) == b"first"
    assert store.list_names(folder) == ["part-00000.parquet"]


def test_of_racing_creators_one_wins(place: Place) -> None:
    store, folder = place
    for turn in range(8):
        uri = join(folder, f"claim-{turn}")
        bodies = [uuid.uuid4().bytes for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda body, uri=uri: store.create(uri, body, writer="w"), bodies))
        assert sorted(outcomes) == ["created"] + ["exists"] * 7
        assert store.read(uri) == bodies[outcomes.index("created")]


def test_a_pinned_version_is_read_or_reported_changed(place: Place) -> None:
    store, folder = place
    uri = join(folder, "photo.jpg")
    store.put(uri, b"before")
    pinned = store.stat(uri)
    assert store.read(uri, etag=pinned.etag) == b"before"
    store.put(uri, b"after it")
    with pytest.raises(ObjectChanged, match="changed after the plan"):
        store.read(uri, etag=pinned.etag)


def test_an_open_object_reads_as_its_whole_from_any_place(place: Place) -> None:
    store, folder = place
    uri = join(folder, "film.mp4")
    dice = random.Random(3)
    body = dice.randbytes(3 * BLOCK_BYTES + 17)
    store.put(uri, body)
    pinned = store.stat(uri)
    with store.open(uri, etag=pinned.etag, size=pinned.size) as file, io.BytesIO(body) as expected:
        assert file.seekable()
        for _ in range(60):
            start, count = dice.randrange(len(body) + 50), dice.choice([1, 1000, BLOCK_BYTES, len(body)])
            assert file.seek(start) == expected.seek(start)
            assert file.read(count) == expected.read(count)
        file.seek(-10, io.SEEK_END)
        assert file.read() == body[-10:]
    with store.open(uri) as file:
        assert file.read() == body


def test_an_open_object_is_the_pinned_version_or_reported_changed(place: Place) -> None:
    store, folder = place
    uri = join(folder, "film.mp4")
    store.put(uri, b"before")
    pinned = store.stat(uri)
    store.put(uri, b"after it")
    with (
        pytest.raises(ObjectChanged, match="changed after the plan"),
        store.open(uri, etag=pinned.etag, size=pinned.size) as file,
    ):
        file.read()


def test_walking_is_in_byte_order_and_leaves_hidden_names(place: Place) -> None:
    store, folder = place
    names = [
        "b/z.jpg",
        "b-1.jpg",
        "b.jpg",
        "a/1/x.jpg",
        "é.jpg",
        "Z.jpg",
        "b/a.jpg",
        "with space.jpg",
        "c%20d.jpg",
    ]
    for name in [*names, ".hidden.jpg", "_veedor/x.jpg", "a/.tmp/y.jpg"]:
        store.put(join(folder, name), b"x")
    found = [info.uri.removeprefix(folder + "/") for info in store.walk(folder)]
    assert found == sorted(names, key=os.fsencode)
    assert [info.uri for info in store.walk(join(folder, "b.jpg"))] == [join(folder, "b.jpg")]


def test_a_missing_folder_or_bucket_is_said(place: Place) -> None:
    store, folder = place
    missing = "s3://no-such-bucket-here/x/" if folder.startswith("s3://") else "/no/such/folder"
    with pytest.raises(BucketMissing, match="there is no"):
        list(store.walk(missing))


def test_the_probe_leaves_nothing(place: Place) -> None:
    store, folder = place
    assert probe_create_only(folder, store, writer="w")
    assert store.list_names(folder) == []


def test_long_listings_come_whole_and_in_order(moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(moto_s3, monkeypatch)
    bucket = new_bucket(moto_s3)
    keys = [f"p/{i:04d}.jpg" if i % 5 else f"p/day-{i % 7}/{i:04d}.jpg" for i in range(1500)]
    upload(moto_s3, bucket, dict.fromkeys(keys, b"x"))
    found = [info.uri for info in open_store("s3://").walk(f"s3://{bucket}/p/")]
    assert found == sorted(f"s3://{bucket}/{key}" for key in keys)


def test_a_wrong_secret_is_refused(ceph_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(ceph_s3, monkeypatch)
    bucket = new_bucket(ceph_s3)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(AccessRefused, match="SignatureDoesNotMatch"):
        list(open_store("s3://").walk(f"s3://{bucket}/"))


def test_a_wrong_endpoint_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "any")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "any")
    access = Access(endpoint_url="http://127.0.0.1:9", attempts=2)
    with pytest.raises(StoreUnreachable, match="--endpoint-url"):
        open_store("s3://", access).stat("s3://fleet/x")


def test_an_unknown_profile_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AccessRefused, match="--profile"):
        open_store("s3://", Access(profile="nobody", attempts=2)).stat("s3://fleet/x")


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "in" / "real.jpg").write_bytes(b"x")
    (tmp_path / "in" / "inner.jpg").symlink_to(tmp_path / "in" / "real.jpg")
    (tmp_path / "in" / "outer.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    store = open_store(str(tmp_path))
    found = [Path(info.uri).name for info in store.walk(str(tmp_path / "in"))]
    assert found == ["inner.jpg", "real.jpg"]


DIES_IN_MID_WRITE = """
import os, signal, sys
from jobs.storage import open_store
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
store = open_store(sys.argv[1])
if sys.argv[2] == "create":
    store.create(sys.argv[1] + "/part", b"half", writer="w")
store.put(sys.argv[1] + "/part", b"half")
"""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without names")
@pytest.mark.parametrize("call", ["create", "put"])
def test_a_writer_that_is_killed_in_mid_write_leaves_nothing(tmp_path: Path, call: str) -> None:
    done = subprocess.run([sys.executable, "-c", DIES_IN_MID_WRITE, str(tmp_path), call])
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", [False, True])
def test_drafts_with_or_without_names_give_the_same_files(
    tmp_path: Path, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if named:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    store, one = open_store(str(tmp_path)), str(tmp_path / "in" / "one")
    assert store.create(one, b"first", writer="a") == "created"
    assert store.create(one, b"first", writer="b") == "same"
    assert store.create(one, b"second", writer="b") == "exists"
    assert store.read(one) == b"first"
    store.put(one, b"third")
    assert store.read(one) == b"third"
    (tmp_path / "plain").write_bytes(b"")
    assert Path(one).stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["one"], "no draft is left"


def test_a_draft_left_by_a_dead_writer_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / ".part-00000.parquet.dead").write_bytes(b"half")
    store = open_store(str(tmp_path))
    assert store.create(str(tmp_path / "part-00000.parquet"), b"whole", writer="alive") == "created"
    assert [info.uri for info in store.walk(str(tmp_path))] == [str(tmp_path / "part-00000.parquet")]
