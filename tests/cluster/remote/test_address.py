"""Which cluster is meant, and whether it is on this machine."""

from __future__ import annotations

import pytest

from cluster.remote.address import choose_url, is_loopback, parse_address
from cvcore.errors import SpecError


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://head:8265", "http://head:8265"),
        ("http://head", "http://head:8265"),
        ("https://ray.example.com", "https://ray.example.com:443"),
        ("https://example.com/clusters/a/", "https://example.com:443/clusters/a"),
        ("head:9000", "http://head:9000"),
        ("head", "http://head:8265"),
        ("127.0.0.1:8265", "http://127.0.0.1:8265"),
        ("http://[::1]:8265/", "http://[::1]:8265"),
    ],
)
def test_addresses_have_one_form(text: str, url: str) -> None:
    assert parse_address(text, origin="--address") == url
    assert parse_address(url, origin="--address") == url


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ray://head:10001", "scheme 'ray', no job server"),
        ("s3://bucket/x", "scheme 's3'"),
        ("auto", "names no job server"),
        ("http://user:pass@head:8265", "holds a name or password"),
        ("http://head:port", "http://HOST:8265"),
        ("http://head:99999", "http://HOST:8265"),
        ("http://", "is no address"),
        ("http://head:8265?x=1", "is no address"),
        ("he ad:8265", "is no address"),
        ("head;reboot", "is no address"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        parse_address(text, origin="RAY_ADDRESS")
    assert "RAY_ADDRESS" in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_what_is_given_counts_before_the_environment_and_that_before_what_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    up = ["http://127.0.0.1:1"]
    assert choose_url(None, local_urls=up) == up[0]
    monkeypatch.setenv("RAY_ADDRESS", "http://environment:8265")
    assert choose_url(None, local_urls=up) == "http://environment:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://server:8265")
    assert choose_url(None, local_urls=up) == "http://server:8265"
    assert choose_url("given", local_urls=up) == "http://given:8265"


def test_none_or_several_are_not_guessed_between() -> None:
    with pytest.raises(SpecError, match="veedor up"):
        choose_url(None, local_urls=[])
    with pytest.raises(SpecError, match=r"--address http://127\.0\.0\.1:1 or http://127\.0\.0\.1:2"):
        choose_url(None, local_urls=["http://127.0.0.1:2", "http://127.0.0.1:1"])


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8265", True),
        ("http://127.8.9.1:8265", True),
        ("http://localhost:8265", True),
        ("http://[::1]:8265", True),
        ("http://10.0.0.1:8265", False),
        ("http://0.0.0.0:8265", False),
        ("http://localhost.example.com:8265", False),
        ("http://127.0.0.1.example.com:8265", False),
    ],
)
def test_what_stays_on_this_machine(url: str, here: bool) -> None:
    assert is_loopback(url) is here
