"""Small jobs to harm, on a local folder and on S3."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.corpus import good_image, good_name, toy_model
from tests.faults.drivers import Driver, Ending, kill_drivers
from tests.faults.numbered import Book, Harm
from tests.faults.results import Result, read_result
from tests.s3_files import new_bucket, upload, upload_model
from tests.s3_servers import S3Server

RUN_TIMEOUT_S = 240


@dataclass
class ToyJob:
    """A toy detector over a few images, the second of which is empty; every run has an output of its own.

    Attributes:
        root: the folder or bucket that holds inputs and outputs.
        scratch: a local folder for what drivers print.
        server: the S3 server, where the job is on S3.
    """

    root: str
    model: dict[str, str]
    scratch: Path
    server: S3Server | None = None
    sink: dict[str, Any] = field(default_factory=dict)
    annotate: dict[str, Any] = field(default_factory=dict)
    _numbers: Any = field(default_factory=itertools.count)

    @property
    def environment(self) -> dict[str, str]:
        return self.server.environment if self.server else {}

    def new_out(self) -> str:
        return f"{self.root}/out-{next(self._numbers)}"

    def content(self, out: str) -> dict[str, Any]:
        """The spec."""
        return {
            "source": {"uri": f"{self.root}/in/"},
            "model": self.model,
            "annotate": self.annotate,
            "resources": {"actors": 1},
            "sink": {"uri": out, **self.sink},
        }

    def start(self, out: str, *, address: str | None, harm: Harm | None = None, **options: Any) -> Driver:
        """Start a driver with its storage calls numbered."""
        folder = self.scratch / f"run-{next(self._numbers)}"
        book = Book.open(self.scratch / f"book-{next(self._numbers)}", harm)
        content = self.content(out)
        return Driver(content, folder, address=address, environment=self.environment, book=book, **options)

    def run(self, out: str, *, address: str | None, harm: Harm | None = None, **options: Any) -> Ending:
        return self.start(out, address=address, harm=harm, **options).wait(RUN_TIMEOUT_S)

    def undisturbed(self, address: str | None, **options: Any) -> tuple[Result, Book]:
        """A run without harm: its result, and its storage calls."""
        out = self.new_out()
        driver = self.start(out, address=address, **options)
        ending = driver.wait(RUN_TIMEOUT_S)
        assert ending.code == 0, ending.output
        return read_result(out), driver.book


def toy_images(count: int) -> dict[str, bytes]:
    """File name to bytes, in all formats; the second is empty."""
    names = [good_name(index) for index in range(count)]
    return {name: b"" if i == 1 else good_image(i, kind) for i, (name, kind) in enumerate(names)}


def local_job(folder: Path, images: int, **sink: Any) -> ToyJob:
    """A toy job below a folder."""
    (folder / "in").mkdir()
    for name, body in toy_images(images).items():
        (folder / "in" / name).write_bytes(body)
    return ToyJob(str(folder), toy_model(folder / "toy"), folder, sink=sink)


def s3_job(server: S3Server, scratch: Path, images: int, **sink: Any) -> ToyJob:
    """A toy job in a bucket of its own."""
    bucket = new_bucket(server)
    upload(server, bucket, {f"in/{name}": body for name, body in toy_images(images).items()})
    model = upload_model(server, bucket, toy_model(scratch / "toy"))
    return ToyJob(f"s3://{bucket}", model, scratch, server, sink)


@pytest.fixture(scope="session")
def address(ray_cluster: None) -> str:  # noqa: ARG001
    """Of the session's cluster, for drivers to join."""
    found: str = ray.get_runtime_context().gcs_address
    return found


@pytest.fixture(autouse=True)
def no_driver_outlives_its_test() -> Iterator[None]:
    yield
    kill_drivers()
