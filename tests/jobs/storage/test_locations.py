"""How locations are written, and which endpoints are spoken to."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from cvcore.errors import SpecError
from jobs.storage import Access, name_below, open_store, resolve_location
from jobs.storage.endpoints import check_address, check_endpoint, is_forbidden
from jobs.storage.locations import location_of_path, path_of_location
from jobs.storage.resolver import GuardedResolver

METADATA = "169.254.169.254"


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        " file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "https://example.org/x.jpg",
        "HTTP://example.org/",
        "ftp://example.org/",
        "gopher://x/",
        "s3a://bucket/key",
        "package://os/path",
        "s3://",
        "s3:///key",
        "s3://user:secret@bucket/key",
        "s3://bucket?x=1/key",
        "s3://bucket#x/key",
        "s3://../key",
        "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/x",
        "s3://[bucket/key",
        "s3://buc ket/key",
        "a\0b",
        "\udcff.jpg",
        "",
    ],
)
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve_location(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("S3://bucket/a//b/../c%2f?#+ d", "s3://bucket/a//b/../c%2f?#+ d"),
        ("//data/x", "/data/x"),
        ("/data/a:b\n'\"%.jpg", "/data/a:b\n'\"%.jpg"),
    ],
)
def test_locations_are_taken_to_the_letter(text: str, resolved: str) -> None:
    assert resolve_location(text) == resolved


@pytest.mark.parametrize(
    ("raw", "uri"),
    [
        (b"/in/a.jpg", "/in/a.jpg"),
        (b"/in/100%.jpg", "/in/100%.jpg"),
        ("/in/é.jpg".encode(), "/in/é.jpg"),
        (b"/in/\xff%20.jpg", "file:///in/%FF%2520.jpg"),
        (b"/\xe9t\xe9/a.jpg", "file:///%E9t%E9/a.jpg"),
    ],
)
def test_paths_that_are_not_utf8_have_a_lossless_form(raw: bytes, uri: str) -> None:
    assert location_of_path(os.fsdecode(raw)) == uri
    assert os.fsencode(path_of_location(uri)) == raw


def test_names_below_a_folder() -> None:
    assert name_below("/in/a/b.jpg", "/in") == "a/b.jpg"
    assert name_below("file:///in%20x/a/%FF.jpg", "/in x") == "a/%FF.jpg"
    assert name_below("s3://b/in/c.jpg", "s3://b/in/") == "c.jpg"


@pytest.mark.parametrize(
    "address",
    [
        METADATA,
        "169.254.170.2",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fd00:ec2::254",
        "100.100.100.200",
    ],
)
def test_metadata_addresses_in_every_dress(address: str) -> None:
    assert is_forbidden(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.9", "192.168.1.4", "52.216.1.1", "fd12::9"])
def test_addresses_of_stores(address: str) -> None:
    assert not is_forbidden(address)


@pytest.mark.parametrize(
    "host", [METADATA, "2852039166", "0xA9FEA9FE", "169.254.43518", "[::ffff:a9fe:a9fe]", "[fe80::1]"]
)
def test_an_endpoint_at_a_metadata_address(host: str) -> None:
    with pytest.raises(SpecError, match="link-local or metadata"):
        open_store("s3://fleet/x", Access(endpoint_url=f"http://{host}:80"))


def test_an_endpoint_of_the_environment_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{METADATA}/")
    with pytest.raises(SpecError, match="link-local or metadata"):
        open_store("s3://fleet/x")


def test_a_name_of_a_metadata_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer is harmless, the second is not: what is connected to is looked at as well."""
    answers = iter(["10.0.0.9", METADATA])

    def look_up(*arguments: Any, **options: Any) -> list[Any]:
        del arguments, options
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 80))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    check_address("http://store.example.org")
    with pytest.raises(OSError, match="metadata"):
        asyncio.run(GuardedResolver().resolve("store.example.org", 80))


@pytest.mark.parametrize(
    "url",
    [
        "http://key:secret@store:9000",
        "http://secret@store",
        "ftp://store",
        "store:9000",
        "http://",
        "file:///etc",
        "http://store:99999",
        "http://[store",
        "http://store/?x=secret",
    ],
)
def test_endpoints_that_are_none(url: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_endpoint(url)
    assert "@" not in url or "secret" not in str(caught.value)
