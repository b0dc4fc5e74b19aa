"""S3 behind a faulty network: the same rows or a clear failure, and a rerun that completes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from cvcore.errors import VeedorError
from cvcore.image.limits import DecodeLimits
from cvcore.types import InputSpec
from jobs.annotate import run_annotate
from jobs.progress import SilentListener
from jobs.spec import AnnotateSpec, build_spec
from jobs.stages.decode import decode_inputs
from jobs.storage import (
    Access,
    AccessRefused,
    CredentialsRefused,
    StorageError,
    StoreFull,
    StoreUnreachable,
    open_store,
)
from jobs.storage.s3 import S3Store
from tests.conftest import point_at
from tests.corpus import good_image, good_name, toy_model
from tests.faults.proxy import PASSING, Call, FaultProxy, Kind, at_random, between, never
from tests.faults.record import full, record
from tests.runs import read_rows
from tests.s3_files import client, new_bucket, upload, upload_model
from tests.s3_servers import S3Server

NUM_IMAGES = 96 if full() else 64
Attack = tuple[tuple[Kind, ...], float, int]
MIXTURES: list[Attack] = [(PASSING, rate, seed) for rate in (0.01, 0.05, 0.2) for seed in (1, 2, 3)]
SINGLES: list[Attack] = [((kind,), rate, 1) for kind in PASSING for rate in (0.05, 0.2)]
ATTACKS = MIXTURES + SINGLES if full() else [(PASSING, 0.2, 1)]
only_full = pytest.mark.skipif(not full(), reason="a job of its own: `make faults` runs it")
MIXES: list[tuple[Kind, ...]] = [PASSING, *((kind,) for kind in PASSING)] if full() else [PASSING]


@dataclass(frozen=True)
class Job:
    """Images and a model on a server, and the rows that an undisturbed run makes of them."""

    server: S3Server
    bucket: str
    model: dict[str, str]
    rows: pa.Table

    def spec(self, out: str, endpoint: str, **storage: Any) -> AnnotateSpec:
        return spec_of(self.bucket, self.model, out, endpoint, **storage)

    def rows_of(self, out: str) -> pa.Table:
        return read_rows(f"s3://{self.bucket}/{out}", access=Access(endpoint_url=self.server.url))


def spec_of(bucket: str, model: dict[str, str], out: str, endpoint: str, **storage: Any) -> AnnotateSpec:
    content = {
        "source": {"uri": f"s3://{bucket}/in/"},
        "model": model,
        "storage": {"endpoint_url": endpoint, **storage},
        "resources": {"batch_size": 4},
        "sink": {"uri": f"s3://{bucket}/{out}", "images_per_unit": 8},
    }
    return build_spec(content, name="test")


@pytest.fixture(autouse=True)
def credentials(best_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at(best_s3, monkeypatch)


@pytest.fixture(scope="module")
def job(best_s3: S3Server, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Job:
    del ray_cluster
    bucket = new_bucket(best_s3)
    names = [good_name(index) for index in range(NUM_IMAGES)]
    upload(best_s3, bucket, {f"in/{name}": good_image(i, kind) for i, (name, kind) in enumerate(names)})
    model = upload_model(best_s3, bucket, toy_model(tmp_path_factory.mktemp("toy")))
    with pytest.MonkeyPatch.context() as patch:
        point_at(best_s3, patch)
        run_annotate(spec_of(bucket, model, "undisturbed", best_s3.url), listener=SilentListener())
        rows = read_rows(f"s3://{bucket}/undisturbed")
    assert rows.num_rows == NUM_IMAGES
    return Job(best_s3, bucket, model, rows)


@pytest.fixture
def proxy(best_s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(best_s3).running() as running:
        yield running


def attempt(spec: AnnotateSpec) -> str | None:
    """Run a job; returns the message of its failure, which has to be one for people."""
    try:
        run_annotate(spec, listener=SilentListener())
    except VeedorError as error:
        message = str(error)
    else:
        return None
    assert "Traceback" not in message
    assert "File " not in message
    assert len(message.splitlines()) <= 3
    return message


@pytest.mark.parametrize(("kinds", "rate", "seed"), ATTACKS)
def test_a_faulty_network_changes_no_row(
    kinds: tuple[Kind, ...], rate: float, seed: int, job: Job, proxy: FaultProxy
) -> None:
    out = f"out-{'-'.join(kinds)}-{rate}-{seed}"
    spec = job.spec(out, proxy.server.url)
    proxy.choose = at_random(kinds, rate, seed)
    failure = attempt(spec)
    injected = proxy.injected()
    assert injected or rate < 0.2
    if failure is not None:
        proxy.choose = never
        assert attempt(spec) is None
    assert job.rows_of(out).equals(job.rows)
    record(
        f"S3 {'mixed faults' if len(kinds) > 1 else kinds[0]} at {rate:.0%}, seed {seed}",
        attack=f"{injected} of {len(proxy.calls)} calls",
        trials=1,
        differences=0,
        failures=int(failure is not None),
        rerun="complete" if failure else "not needed",
    )


def test_stalled_answers_change_no_row(job: Job, proxy: FaultProxy) -> None:
    proxy.stall_s = 30.0 if full() else 3.0
    spec = job.spec("out-stall", proxy.server.url, timeout_s=20.0 if full() else 2.0)
    proxy.choose = at_random(("stall",), 0.05, seed=4)
    failure = attempt(spec)
    proxy.choose = never
    assert failure is None or attempt(spec) is None
    assert proxy.injected()
    assert job.rows_of("out-stall").equals(job.rows)
    record(
        f"S3 stalls of {proxy.stall_s:g} s",
        attack=f"{proxy.injected()} of {len(proxy.calls)} calls",
        trials=1,
        differences=0,
        failures=int(failure is not None),
    )


@pytest.mark.parametrize("first", (60, 5) if full() else (60,))
@pytest.mark.parametrize("length", (float("inf"), 30) if full() else (30,))
def test_an_expired_credential_is_named_and_a_rerun_completes(
    length: float, first: int, job: Job, proxy: FaultProxy
) -> None:
    out = f"out-expired-{first}-{length}"
    spec = job.spec(out, proxy.server.url)
    proxy.choose = between("expired", first, first + length)
    failure = attempt(spec)
    assert failure is not None
    assert "expired" in failure or "400" in failure
    proxy.choose = never
    assert attempt(spec) is None
    assert job.rows_of(out).equals(job.rows)
    record(
        f"S3 credential expired from call {first} {'on' if length > 30 else f'for {length} calls'}",
        attack="400 ExpiredToken",
        trials=1,
        differences=0,
        failures=1,
        rerun="complete",
    )


@only_full
@pytest.mark.parametrize(("kind", "words"), [("denied", "allow this"), ("quota", "the store is full")])
def test_a_refused_write_is_named_and_a_rerun_completes(
    kind: Kind, words: str, job: Job, proxy: FaultProxy
) -> None:
    spec = job.spec(f"out-{kind}", proxy.server.url)
    proxy.choose = lambda call: kind if "/data/part-00003" in call.target and call.suffers(kind) else None
    failure = attempt(spec)
    assert failure is not None
    assert words in failure
    proxy.choose = never
    assert attempt(spec) is None
    assert job.rows_of(f"out-{kind}").equals(job.rows)


@only_full
def test_an_outage_fails_the_job_and_not_its_rows(job: Job, proxy: FaultProxy) -> None:
    """Every call fails from the middle on: no input may be blamed for that."""
    spec = job.spec("out-outage", proxy.server.url)
    proxy.choose = between("reset", 70)
    failure = attempt(spec)
    assert failure is not None
    assert "cannot reach" in failure
    proxy.choose = never
    assert attempt(spec) is None
    assert job.rows_of("out-outage").equals(job.rows)


@only_full
def test_one_object_that_the_store_cannot_give_costs_its_row_alone(job: Job, proxy: FaultProxy) -> None:
    bad = job.rows.column("uri")[NUM_IMAGES // 2].as_py()
    proxy.choose = lambda call: "internal_error" if bad.endswith(call.target.rpartition("/")[2]) else None
    assert attempt(job.spec("out-unreadable", proxy.server.url)) is None
    rows = job.rows_of("out-unreadable").to_pylist()
    assert {row["uri"]: row["error_code"] for row in rows if row["status"] != "ok"} == {bad: "unreadable"}
    sound = [row for row in job.rows.to_pylist() if row["uri"] != bad]
    assert [row for row in rows if row["uri"] != bad] == sound


def test_requests_stay_within_the_configured_rate(job: Job, proxy: FaultProxy) -> None:
    rate = 30.0
    began = time.monotonic()
    assert attempt(job.spec("out-rate", proxy.server.url, max_requests_per_s=rate)) is None
    assert job.rows_of("out-rate").equals(job.rows)
    processes = 5  # the driver, an actor for each of two CPUs, and two merging tasks that may run beside
    assert proxy.peak_per_s() <= rate + processes
    assert len(proxy.calls) > NUM_IMAGES
    record(
        "S3 request rate",
        attack=f"a limit of {rate:g} a second",
        trials=len(proxy.calls),
        peak_per_s=proxy.peak_per_s(),
        wall_s=round(time.monotonic() - began, 1),
    )


# From here on a store alone, without a job: each call under each fault.


@pytest.fixture
def store(proxy: FaultProxy) -> S3Store:
    opened = open_store("s3://", Access(endpoint_url=proxy.server.url, attempts=6, timeout_s=2))
    assert isinstance(opened, S3Store)
    return opened


@pytest.fixture
def bucket(best_s3: S3Server) -> str:
    return new_bucket(best_s3)


def first_times(kind: Kind, times: int) -> Any:
    """The first calls for each object and method suffer the fault."""
    seen: dict[tuple[str, str], int] = {}

    def choose(call: Call) -> Kind | None:
        key = call.method, call.target
        seen[key] = seen.get(key, 0) + 1
        return kind if seen[key] <= times and call.suffers(kind) else None

    return choose


@pytest.mark.parametrize("kind", PASSING)
def test_each_call_outlives_a_fault_that_passes(
    kind: Kind, store: S3Store, bucket: str, proxy: FaultProxy
) -> None:
    uri, body = f"s3://{bucket}/f/a", bytes(range(256)) * 40
    proxy.choose = first_times(kind, 2)
    assert store.create(uri, body, writer="w") in ("created", "same")
    assert store.create(uri, b"other", writer="v") == "exists"
    store.put(f"s3://{bucket}/f/b", body[::-1])
    assert store.read(uri) == body
    assert store.read(f"s3://{bucket}/f/b") == body[::-1]
    assert store.stat(uri).size == len(body)
    assert [info.uri for info in store.walk(f"s3://{bucket}/f/")] == [uri, f"s3://{bucket}/f/b"]
    assert store.list_names(f"s3://{bucket}/f") == ["a", "b"]
    store.delete(uri)
    assert not store.exists(uri)
    assert proxy.injected() >= 2


def decoded(store: S3Store, bucket: str) -> list[str]:
    """Decode six images that stand in a bucket; returns their error codes."""
    uris = [f"s3://{bucket}/{i}.jpg" for i in range(6)]
    inputs = [{"row": i, "uri": uri, "etag": store.stat(uri).etag, "size": 1} for i, uri in enumerate(uris)]
    table = decode_inputs(inputs, store, InputSpec(64, 64), DecodeLimits(), unit=0)
    return [code or "" for code in table.column("error_code").to_pylist()]


def test_one_object_that_the_store_cannot_give_costs_its_row(
    store: S3Store, bucket: str, best_s3: S3Server, proxy: FaultProxy
) -> None:
    upload(best_s3, bucket, {f"{i}.jpg": good_image(i) for i in range(6)})
    proxy.choose = lambda call: (
        "internal_error" if (call.method, call.target[-5:]) == ("GET", "3.jpg") else None
    )
    assert decoded(store, bucket) == ["", "", "", "unreadable", "", ""]


def test_an_outage_is_no_fault_of_the_inputs(
    store: S3Store, bucket: str, best_s3: S3Server, proxy: FaultProxy
) -> None:
    upload(best_s3, bucket, {f"{i}.jpg": good_image(i) for i in range(6)})
    proxy.choose = between("reset", 8)  # six HEADs and two GETs come through
    with pytest.raises(StoreUnreachable):
        decoded(store, bucket)


def test_an_expired_credential_is_no_fault_of_the_inputs(
    store: S3Store, bucket: str, best_s3: S3Server, proxy: FaultProxy
) -> None:
    upload(best_s3, bucket, {f"{i}.jpg": good_image(i) for i in range(6)})
    proxy.choose = between("expired", 8)
    with pytest.raises(CredentialsRefused):
        decoded(store, bucket)


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        pytest.param("denied", AccessRefused, "allow this", id="denied"),
        pytest.param("quota", StoreFull, "the store is full", id="quota"),
    ],
)
def test_a_refused_put_is_named(
    kind: Kind, error: type[StorageError], words: str, store: S3Store, bucket: str, proxy: FaultProxy
) -> None:
    proxy.choose = between(kind, 0)
    with pytest.raises(error, match=words):
        store.create(f"s3://{bucket}/part", b"x", writer="w")
    assert len(proxy.calls) == 1, "another attempt would not help"


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        pytest.param("slow_down", StoreUnreachable, "storage.max_requests_per_s", id="busy"),
        pytest.param("reset", StoreUnreachable, "cannot reach", id="reset"),
        pytest.param("cut", StoreUnreachable, "cannot reach", id="cut"),
        pytest.param("corrupt", StoreUnreachable, "arrived damaged", id="corrupt"),
        pytest.param("expired", CredentialsRefused, "have expired", id="expired"),
    ],
)
def test_a_fault_that_stays_is_named(
    kind: Kind,
    error: type[StorageError],
    words: str,
    bucket: str,
    proxy: FaultProxy,
) -> None:
    store = open_store("s3://", Access(endpoint_url=proxy.server.url, attempts=3))
    store.put(f"s3://{bucket}/a", b"x" * 1000)
    proxy.choose = between(kind, 0)
    with pytest.raises(error, match=words):
        store.read(f"s3://{bucket}/a")
    if kind != "expired":
        # One PUT, then as many attempts as asked for; aiohttp repeats one on a kept connection by itself.
        assert 1 + 3 <= len(proxy.calls) <= 1 + 2 * 3


def test_a_listing_that_arrives_corrupted_is_refused(store: S3Store, bucket: str, proxy: FaultProxy) -> None:
    store.put(f"s3://{bucket}/in/a", b"x")
    proxy.choose = between("corrupt", 0)
    with pytest.raises(StoreUnreachable, match="kept answering 500"):
        list(store.walk(f"s3://{bucket}/in/"))


def test_a_corrupted_body_is_never_returned(store: S3Store, bucket: str, proxy: FaultProxy) -> None:
    """Of many reads, half of them corrupted on the way, all that return are right."""
    bodies = {f"s3://{bucket}/{i}": hashlib.sha256(str(i).encode()).digest() * 200 for i in range(40)}
    for uri, body in bodies.items():
        store.put(uri, body)
    proxy.choose = at_random(("corrupt",), 0.5, seed=5)

    def read(uri: str) -> bytes | None:
        try:
            return store.read(uri)
        except StoreUnreachable:
            return None

    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(bodies, pool.map(read, bodies), strict=True))
    assert proxy.injected() >= 20
    assert sum(body is not None for body in found.values()) >= 30
    assert all(body is None or body == bodies[uri] for uri, body in found.items())


def test_etags_that_are_no_digests_are_believed_after_two_equal_reads_once(
    store: S3Store, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some servers and encryptions give every object an ETag that looks like an MD5 and is none."""
    for name in ("a", "b"):
        store.put(f"s3://{bucket}/{name}", name.encode() * 100)
    sound = store._call

    def with_odd_etags(method: str, uri: str, **arguments: Any) -> dict[str, Any]:
        answer = sound(method, uri, **arguments)
        return answer | {"ETag": f'"{"0" * 32}"'} if method == "get_object" else answer

    monkeypatch.setattr(store, "_call", with_odd_etags)
    before = len(proxy.calls)
    assert store.read(f"s3://{bucket}/a") == b"a" * 100
    assert len(proxy.calls) - before == 2
    assert store.read(f"s3://{bucket}/b") == b"b" * 100
    assert len(proxy.calls) - before == 3


def test_over_tls_only_our_own_digests_are_checked(
    store: S3Store, bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(f"s3://{bucket}/ours", b"ours" * 100, writer="w")
    store.put(f"s3://{bucket}/theirs", b"theirs" * 100)
    monkeypatch.setattr(store._client.meta, "_endpoint_url", "https://s3.example")
    proxy.choose = between("corrupt", 0)
    assert store.read(f"s3://{bucket}/theirs") != b"theirs" * 100
    with pytest.raises(StoreUnreachable, match="arrived damaged"):
        store.read(f"s3://{bucket}/ours")


def test_our_own_object_with_another_content_is_refused(
    store: S3Store, bucket: str, best_s3: S3Server
) -> None:
    uri = f"s3://{bucket}/part"
    noted = {"veedor-sha256": hashlib.sha256(b"what was written").hexdigest()}
    client(best_s3).put_object(Bucket=bucket, Key="part", Body=b"something else", Metadata=noted)
    with pytest.raises(StorageError, match="is damaged"):
        store.read(uri)


def test_objects_of_several_parts_are_read_whole(store: S3Store, bucket: str, best_s3: S3Server) -> None:
    s3 = client(best_s3)
    key, size = {"Bucket": bucket, "Key": "large"}, 5 * 2**20
    upload_id = s3.create_multipart_upload(**key)["UploadId"]
    parts = [
        {
            "PartNumber": n,
            "ETag": s3.upload_part(**key, UploadId=upload_id, PartNumber=n, Body=bytes([n]) * size)["ETag"],
        }
        for n in (1, 2)
    ]
    s3.complete_multipart_upload(**key, UploadId=upload_id, MultipartUpload={"Parts": parts})
    assert "-" in store.stat(f"s3://{bucket}/large").etag
    assert store.read(f"s3://{bucket}/large") == b"\1" * size + b"\2" * size


def test_a_damaged_write_does_not_stand(store: S3Store, bucket: str, proxy: FaultProxy) -> None:
    """Content-MD5 and the signature go with the body; Ceph refuses what does not fit them."""
    if proxy.server.kind != "ceph":
        pytest.skip("moto takes damaged bodies")
    proxy.choose = between("corrupt_put", 0)
    with pytest.raises(StoreUnreachable, match="reached the store damaged"):
        store.create(f"s3://{bucket}/part", b"x" * 1000, writer="w")
    assert not store.exists(f"s3://{bucket}/part")
