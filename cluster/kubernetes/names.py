"""How things are called in Kubernetes, and what to call them where a name is not allowed."""

from __future__ import annotations

import re
from typing import Final

from cvcore.errors import SpecError

MAX_CHARS: Final = {"RayCluster": 53, "RayJob": 47, "RayCronJob": 36, "CronJob": 52}
"""KubeRay's limits, and Kubernetes' own: each makes longer names of these."""

_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_IMAGE = re.compile(
    r"(?P<path>([a-z0-9][a-z0-9.-]*(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)


def check_name(name: str, kind: str) -> str:
    """A name of an object of a kind.

    Raises:
        SpecError: if it is no DNS-1035 label within the kind's limit, with the nearest one that is.
    """
    limit = MAX_CHARS[kind]
    if len(name) > limit or not _LABEL_1035.fullmatch(name):
        raise SpecError(
            f"the name {name!r} is not allowed for a {kind}: at most {limit} lower-case letters, digits and "
            "'-', beginning with a letter and not ending with '-'. Allowed would be "
            f"{corrected(name, limit)!r}"
        )
    return name


def corrected(text: str, limit: int) -> str:
    """The DNS-1035 label that is nearest to a text."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if not plain or not plain[0].isalpha():
        plain = f"job-{plain}".rstrip("-")
    return plain[:limit].rstrip("-")


def dns_label(text: str) -> str:
    """A DNS-1123 label, such as a namespace; raises ValueError."""
    if len(text) > 63 or not _LABEL_1123.fullmatch(text):
        raise ValueError(f"{text!r} is no name: at most 63 lower-case letters, digits and '-'")
    return text


def dns_subdomain(text: str) -> str:
    """A DNS-1123 subdomain, as most objects are named; raises ValueError."""
    if len(text) > 253 or not all(_LABEL_1123.fullmatch(part) for part in text.split(".")):
        raise ValueError(f"{text!r} is no object's name: lower-case letters, digits, '-' and '.'")
    return text


def label_key(text: str) -> str:
    """A label's key: a name of up to 63 characters, after a DNS name and a slash if it has a prefix."""
    prefix, slash, name = text.rpartition("/")
    if slash:
        dns_subdomain(prefix)
    if len(name) > 63 or not _QUALIFIED.fullmatch(name):
        raise ValueError(f"{text!r} is no label's key, such as pool or nvidia.com/gpu")
    return text


def label_value(text: str) -> str:
    """A label's value: up to 63 letters, digits, '-', '_' and '.', or nothing; raises ValueError."""
    if text and (len(text) > 63 or not _QUALIFIED.fullmatch(text)):
        raise ValueError(f"{text!r} is no label's value: at most 63 letters, digits, '-', '_' and '.'")
    return text


def image_reference(text: str) -> str:
    """An image with a tag or a digest; raises ValueError."""
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no image, such as registry.example/veedor:1.0")
    if found["digest"] is None and found["tag"] in (None, "latest"):
        raise ValueError(
            f"{text!r} names no version, so pods of one job could differ: add a tag or a digest, such as "
            f"{found['path']}:1.0"
        )
    return text
