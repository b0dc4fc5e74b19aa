"""What the test session shares: one Ray cluster and the S3 servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import ray

from tests.s3_servers import S3Server, ceph_is_installed, ceph_server, moto_server

# Ray's workers are nice to all else on a machine, and would stand still beside other load.
os.environ.setdefault("RAY_worker_niceness", "0")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell has it for what it starts in the background. All that tests start would be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
NO_CEPH = "Ceph's gateway is not installed (ceph-mon ceph-osd ceph-common radosgw): moto stands in alone"


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One embedded cluster of two logical CPUs for the whole session.

    Its workers have the test servers' credentials; which server a job means is said by its endpoint.
    """
    with pytest.MonkeyPatch.context() as patch:
        point_at(S3Server("any", ""), patch)
        patch.delenv("AWS_ENDPOINT_URL")
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="session")
def moto_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto's server: always there, fast, and lax about credentials."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def ceph_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Ceph's object gateway: a production server."""
    if not ceph_is_installed():
        pytest.skip(NO_CEPH)
    with ceph_server(tmp_path_factory.mktemp("ceph")) as server:
        yield server


@pytest.fixture(scope="session")
def best_s3(request: pytest.FixtureRequest) -> S3Server:
    """The truest S3 server there is: Ceph's where it is installed, else moto's. For whole jobs."""
    server: S3Server = request.getfixturevalue("ceph_s3" if ceph_is_installed() else "moto_s3")
    return server


@pytest.fixture
def s3_environment(best_s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """`best_s3` with this process's environment pointing at it."""
    point_at(best_s3, monkeypatch)
    return best_s3


def point_at(server: S3Server, patch: pytest.MonkeyPatch) -> None:
    """Make a server the one that this process's environment names."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", *(n for n in os.environ if n.endswith("_PROXY"))):
        patch.delenv(name, raising=False)
    for name, value in server.environment.items():
        patch.setenv(name, value)
