"""The doctor's look at stores: broken ones of every kind, on top of one that works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cluster.doctor.finding import Finding, Level, has_problem
from cluster.doctor.storage import PROBE_BYTES, StorageCheck, check_storage
from jobs.storage import (
    Access,
    AccessRefused,
    BucketMissing,
    CreateOutcome,
    CredentialsRefused,
    StorageError,
    StoreFull,
    StoreUnreachable,
)
from jobs.storage.local import LocalStore
from tests.s3_files import new_bucket
from tests.s3_servers import S3Server


class Works(LocalStore):
    """A store as it should be."""


class Overwrites(LocalStore):
    """Creates what exists, as some servers do in versioned buckets."""

    def create(self, uri: str, body: bytes, *, writer: str) -> CreateOutcome:
        del writer
        self.put(uri, body)
        return "created"


class Alters(LocalStore):
    def read(self, uri: str, *, etag: str | None = None) -> bytes:
        return super().read(uri, etag=etag)[::-1]


class ListsLate(LocalStore):
    def list_names(self, uri: str) -> list[str]:
        del uri
        return []


class RunsAhead(LocalStore):
    def modified_at(self, uri: str) -> datetime:
        return super().modified_at(uri) + timedelta(hours=1)


class RunsBehind(LocalStore):
    def modified_at(self, uri: str) -> datetime:
        return super().modified_at(uri) - timedelta(minutes=2)


class DateToTheSecond(LocalStore):
    """As S3's."""

    def modified_at(self, uri: str) -> datetime:
        return super().modified_at(uri).replace(microsecond=0)


def failing(call: str, error: StorageError) -> type[LocalStore]:
    """A store one of whose calls fails."""

    def fail(*arguments: Any, **options: Any) -> Any:
        del arguments, options
        raise error

    return type("Failing", (LocalStore,), {call: fail})


def findings(store: type[LocalStore], folder: Path, **options: Any) -> list[Finding]:
    return list(StorageCheck(str(folder), store(), **options).run())


@pytest.mark.parametrize(
    ("store", "level", "text", "remedy"),
    [
        pytest.param(Overwrites, "problem", "overwrites objects", "single_writer", id="overwrites"),
        pytest.param(Alters, "problem", "something else than was written", "https", id="alters"),
        pytest.param(ListsLate, "problem", "does not list an object", "up to date", id="lists late"),
        pytest.param(RunsAhead, "warning", "clock is 3600 s behind", "NTP", id="store's clock ahead"),
        pytest.param(RunsBehind, "warning", "clock is 119 s ahead of", "NTP", id="store's clock behind"),
        pytest.param(
            failing("list_names", BucketMissing("there is no bucket x. Create it")),
            "problem",
            "there is no bucket x",
            "make it",
            id="no bucket",
        ),
        pytest.param(
            failing("list_names", CredentialsRefused("no usable credentials. Set them")),
            "problem",
            "no usable credentials",
            "AWS_ACCESS_KEY_ID",
            id="no credentials",
        ),
        pytest.param(
            failing("list_names", StoreUnreachable("no answer")),
            "problem",
            "no answer",
            "--endpoint-url",
            id="unreachable",
        ),
        pytest.param(
            failing("create", AccessRefused("may not write")),
            "problem",
            "may not write",
            "let these credentials",
            id="read only",
        ),
        pytest.param(
            failing("create", StoreFull("the quota is used up")), "problem", "quota", "make room", id="full"
        ),
        pytest.param(
            failing("delete", AccessRefused("may not delete")),
            "problem",
            "may not delete",
            "let these credentials",
            id="may not delete",
        ),
        pytest.param(
            failing("read", StorageError("is damaged. Delete it and run again")),
            "problem",
            "is damaged",
            "Delete it and run again",
            id="another error",
        ),
    ],
)
def test_a_broken_store_is_found_and_what_to_do_is_said(
    store: type[LocalStore], level: Level, text: str, remedy: str, tmp_path: Path
) -> None:
    found = [each for each in findings(store, tmp_path) if each.level != "ok"]
    first = found[0]
    assert (first.level, text in first.text, remedy in first.remedy) == (level, True, True), found
    assert first.text[-1] != "."


@pytest.mark.parametrize("store", [Works, DateToTheSecond])
def test_a_store_that_works_has_nothing_to_say_and_keeps_nothing(
    store: type[LocalStore], tmp_path: Path
) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"x")
    found = findings(store, tmp_path)
    assert {each.level for each in found} == {"ok"}
    assert len(found) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["mine.jpg"]


@pytest.mark.parametrize("store", [Overwrites, Alters, ListsLate, RunsAhead])
def test_nothing_is_left_in_a_broken_store(store: type[LocalStore], tmp_path: Path) -> None:
    findings(store, tmp_path)
    assert list(tmp_path.iterdir()) == []


def ticking(step_s: float) -> Callable[[], float]:
    """A timer by which every reading is `step_s` after the last."""
    now_s = iter(range(10**6))
    return lambda: next(now_s) * step_s


@pytest.mark.parametrize(
    ("step_s", "expected"),
    [
        pytest.param(0.01, [], id="fast"),
        pytest.param(0.6, ["takes 0.60 s to write"], id="slow to answer"),
        pytest.param(PROBE_BYTES / 9e6, ["takes 0.93 s", "9 MB/s"], id="slow in all"),
    ],
)
def test_slow_stores_are_warned_of(step_s: float, expected: list[str], tmp_path: Path) -> None:
    found = [each for each in findings(Works, tmp_path, timer=ticking(step_s)) if each.level != "ok"]
    assert len(found) == len(expected)
    assert all(text in each.text for text, each in zip(expected, found, strict=True))
    assert not has_problem(found)


def test_an_s3_store(s3_environment: S3Server) -> None:
    found = list(check_storage(f"s3://{new_bucket(s3_environment)}/results/", Access()))
    assert {each.level for each in found} == {"ok"}
    missing = list(check_storage("s3://there-is-no-such-bucket/x/", Access()))
    assert [each.level for each in missing] == ["problem"]
    assert "make it" in missing[0].remedy


def test_a_place_outside_of_the_allowed_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEEDOR_ALLOWED_ROOTS", str(tmp_path / "in"))
    (found,) = check_storage(str(tmp_path / "out"), Access())
    assert found.level == "problem"
    assert "VEEDOR_ALLOWED_ROOTS" in found.text
