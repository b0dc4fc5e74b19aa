"""Names, remarks and YAML of manifests."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.kubernetes.cron_job import Schedule
from cluster.kubernetes.manifests import Order
from cluster.kubernetes.names import MAX_CHARS, check_name, corrected
from cluster.kubernetes.notes import notes
from cluster.kubernetes.yaml_text import yaml_text
from cvcore.errors import SpecError
from tests.cluster.manifest_orders import (
    SCAN,
    order,
)


@pytest.mark.parametrize("kind", MAX_CHARS)
@pytest.mark.parametrize(
    "text", ["Line 3", "x" * 70, "3d", "", "-", "día", "a-", "A.B_c", "x" * 35 + "-" * 30]
)
def test_a_suggested_name_is_allowed(kind: str, text: str) -> None:
    suggested = corrected(text, MAX_CHARS[kind])
    assert check_name(suggested, kind) == suggested
    with pytest.raises(SpecError, match=f"Allowed would be '{suggested}'"):
        check_name(text, kind)


def test_the_longest_name_is_kept() -> None:
    for kind, limit in MAX_CHARS.items():
        assert corrected("x" * limit, limit) == check_name("x" * limit, kind) == "x" * limit


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(order(), "no --secret and no --service-account", id="no credentials"),
        pytest.param(order(SCAN, "RayCronJob", secrets=["s"]), "is alpha", id="alpha"),
        pytest.param(
            order(SCAN, "CronJob", secrets=["s"], gpu_nodes={}), "starts a pod with GPUs", id="looks"
        ),
        pytest.param(
            order(secrets=["s"], volumes=[{"claim": "a", "path": "/a"}]), "ReadWriteMany", id="written volume"
        ),
        pytest.param(order(secrets=["s"]), None, id="nothing to say"),
    ],
)
def test_what_may_surprise_is_said(given: Order, expected: str | None) -> None:
    said = notes(given)
    assert len(said) == (expected is not None)
    assert expected is None or expected in said[0]


@pytest.mark.parametrize("minutes", [0, 7, 90])
def test_looks_are_evenly_spaced(minutes: int) -> None:
    with pytest.raises(SpecError, match="part of an hour"):
        Schedule("a", "s3://b", "0 2 * * *", "UTC", every_minutes=minutes)


def test_words_that_readers_of_yaml_differ_about_are_quoted() -> None:
    words = [
        "y",
        "No",
        "on",
        "1e3",
        "0x1f",
        "1:30",
        "2026-11-29",
        "~",
        "",
        "null",
        ".5",
        "- a",
        "a: b",
        "a #b",
    ]
    text = yaml_text([{"words": words}])
    assert yaml.safe_load(text) == {"words": words}
    assert all(f'- "{word}"' in text for word in words)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.text() | st.integers() | st.booleans() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    )
)
def test_yaml_is_read_as_it_was(value: Any) -> None:
    assert yaml.safe_load(yaml_text([value])) == value
