"""Which of the locations that a spec names can be reached from a pod."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from cluster.kubernetes.options import KubernetesSection, Volume
from cluster.locations import AnyJobSpec, locations, rooted
from cvcore.errors import SpecError
from jobs.storage import is_s3

_OWN_PROFILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_PLACE = re.compile(r"\{[A-Za-z_]+\}")


def placed(spec: AnyJobSpec, options: KubernetesSection, *, scheduled: bool = False) -> AnyJobSpec:
    """The spec with its model's files named from the root, if every location can be reached from the pods.

    Raises:
        SpecError: for what lies on this machine alone; for `{date}` and `{tick}` where no schedule fills
            them in.
    """
    spec = rooted(spec)
    for name, location in locations(spec):
        check_reachable(name, location, options.volumes, written=name == "sink.uri")
    if not scheduled:
        _check_no_places(spec)
    _check_storage(spec, options)
    return spec


def check_reachable(name: str, location: str, volumes: tuple[Volume, ...], *, written: bool) -> None:
    """Raises `SpecError` for a place that pods cannot read, or write."""
    if is_s3(location):
        return
    volume = _volume_of(location, volumes)
    if volume is None:
        raise SpecError(
            f"{name} is {location}, a place on this machine that no pod sees: name s3://bucket/prefix/, "
            f"or mount the volume that holds it: --volume CLAIM:{_folder(location)}"
        )
    if volume.read_only and written:
        raise SpecError(
            f"{name} is {location}, on the volume {volume.claim}, which is mounted to be read only: name "
            "another place, or mount it without ':ro'"
        )


def uses_s3(spec: AnyJobSpec) -> bool:
    return any(is_s3(location) for _, location in locations(spec))


def _volume_of(location: str, volumes: tuple[Volume, ...]) -> Volume | None:
    """The volume that a path lies on: of nested ones, the inner."""
    path = PurePosixPath(location)
    above = [volume for volume in volumes if path.is_relative_to(volume.path)]
    return max(above, key=lambda volume: len(PurePosixPath(volume.path).parts), default=None)


def _folder(location: str) -> str:
    """Where a volume would be mounted for it."""
    parts = PurePosixPath(location).parts
    return str(PurePosixPath(*parts[:2])) if len(parts) > 1 else "/data"


def _check_no_places(spec: AnyJobSpec) -> None:
    for name, location in locations(spec):
        if found := _PLACE.search(location):
            raise SpecError(
                f"{name} holds {found[0]}, which a schedule's ticks fill in: give --cron and --store, or "
                "write it out"
            )


def _check_storage(spec: AnyJobSpec, options: KubernetesSection) -> None:
    storage = spec.storage
    if storage.profile is not None and not any(name in options.env for name in _OWN_PROFILES):
        raise SpecError(
            f"storage.profile is {storage.profile!r}, of this user's files, which pods do not have: drop it, "
            "and give credentials by --secret or --service-account"
        )
    host = urlsplit(storage.endpoint_url or "").hostname
    if host is not None and _is_loopback(host):
        raise SpecError(
            f"storage.endpoint_url is {storage.endpoint_url}, which in a pod is the pod itself: name the "
            "store as pods reach it, such as http://minio.storage.svc:9000"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
