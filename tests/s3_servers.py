"""S3 servers that a test session starts on loopback and stops again.

`moto` is always there; Ceph's object gateway, a production server, is used where it is installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY = "tests-access"
SECRET_KEY = "tests-secret"
MOTO = """
import sys
from contextlib import nullcontext
from threading import Lock
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication, MotoRequestHandler, create_backend_app
)
from werkzeug.serving import run_simple

app, lock = DomainDispatcherApplication(create_backend_app), Lock()


def atomic(environ, start_response):
    with lock if environ["REQUEST_METHOD"] == "PUT" else nullcontext():
        return app(environ, start_response)


run_simple("127.0.0.1", int(sys.argv[1]), atomic, threaded=True, request_handler=MotoRequestHandler)
"""
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class S3Server:
    """A running server: its kind, its endpoint, and the environment that reaches it."""

    kind: str
    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


def ceph_is_installed() -> bool:
    return all(shutil.which(name) for name in ("ceph-mon", "ceph-osd", "radosgw", "radosgw-admin"))


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    """moto's in-memory S3, in a process of its own. It accepts any credentials.

    Writes are made one at a time: it looks and writes in two steps, so that two conditional ones could both
    be made.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-c", MOTO, str(port)]
    with _Daemons(folder) as daemons:
        daemons.start("moto", command)
        url = f"http://127.0.0.1:{port}"
        daemons.wait_for_http(url)
        yield S3Server("moto", url)


@contextlib.contextmanager
def ceph_server(folder: Path) -> Iterator[S3Server]:
    """Ceph's object gateway over one monitor and one in-memory OSD."""
    port, monitor_port = free_ports(2)
    for name in ("mon", "osd", "rgw", "run"):
        (folder / name).mkdir(parents=True)
    fsid, osd_id = str(uuid.uuid4()), str(uuid.uuid4())
    conf = folder / "ceph.conf"
    conf.write_text(_ceph_conf(folder, fsid, port, monitor_port))
    with _Daemons(folder, CEPH_CONF=str(conf)) as daemons:
        keyring = str(folder / "keyring")
        create = ["ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon."]
        daemons.run([*create, "--cap", "mon", "allow *"])
        capabilities = {
            "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *"},
            "osd.0": {"mon": "allow profile osd", "osd": "allow *"},
            "client.rgw": {"mon": "allow rwx", "osd": "allow rwx"},
        }
        for name, caps in capabilities.items():
            options = [word for what, allowed in caps.items() for word in ("--cap", what, allowed)]
            daemons.run(["ceph-authtool", keyring, "--gen-key", "-n", name, *options])
        monmap = str(folder / "monmap")
        address = f"[v2:127.0.0.1:{monitor_port}/0]"
        daemons.run(["monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, monmap])
        daemons.run(["ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring])
        daemons.start("mon", ["ceph-mon", "-f", "-i", "a"])
        daemons.run(["ceph", "osd", "new", osd_id, "0"])
        daemons.run(["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id])
        daemons.start("osd", ["ceph-osd", "-f", "-i", "0"])
        user = ["radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests"]
        daemons.run([*user, f"--access-key={ACCESS_KEY}", f"--secret={SECRET_KEY}"])
        daemons.start("rgw", ["radosgw", "-f", "-n", "client.rgw"])
        url = f"http://127.0.0.1:{port}"
        daemons.wait_for_http(url)
        yield S3Server("ceph", url)


class _Daemons:
    """Processes that end with this one, their output in files of `folder`."""

    def __init__(self, folder: Path, **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> _Daemons:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._running):
            process.kill()  # in-memory stores: there is nothing to flush
        for process in self._running:
            process.wait()

    def start(self, name: str, command: list[str]) -> None:
        # The kernel ends the daemon with this process, even when that is killed outright.
        guarded = ["setpriv", "--pdeathsig", "KILL", *command] if shutil.which("setpriv") else command
        with (self._folder / f"{name}.out").open("wb") as output:
            self._running.append(
                subprocess.Popen(guarded, env=self._environment, stdout=output, stderr=subprocess.STDOUT)
            )

    def run(self, command: list[str]) -> None:
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[:2])} failed:\n{done.stdout}{done.stderr}")

    def wait_for_http(self, url: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < deadline:
            for process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(f"a server ended with {process.returncode}; see {self._folder}")
            try:
                opener.open(url, timeout=2).close()
            except urllib.error.HTTPError:
                return  # it answers
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"{url} did not answer in {START_TIMEOUT_S:.0f} s; see {self._folder}")


def _ceph_conf(folder: Path, fsid: str, port: int, monitor_port: int) -> str:
    settings = {
        "global": {
            "fsid": fsid,
            "mon host": f"[v2:127.0.0.1:{monitor_port}/0]",
            "public addr": "127.0.0.1",
            "cluster addr": "127.0.0.1",
            "ms bind ipv6": "false",
            "ms bind msgr1": "false",
            "keyring": f"{folder}/keyring",
            "run dir": f"{folder}/run",
            "crash dir": f"{folder}/run",
            "admin socket": "",
            "pid file": "",
            "log file": f"{folder}/$name.log",
            "mon cluster log file": f"{folder}/cluster.log",
            "osd pool default size": "1",
            "osd pool default min size": "1",
            "osd pool default pg num": "1",
            "osd pool default pg autoscale mode": "off",
            "osd crush chooseleaf type": "0",
            "mon allow pool size one": "true",
            "mon data avail crit": "0",
            "mon data avail warn": "0",
            "mon max pg per osd": "2000",
            "paxos propose interval": "0.02",
            "paxos min wait": "0.01",
        },
        "mon.a": {"mon data": f"{folder}/mon"},
        "osd.0": {
            "osd data": f"{folder}/osd",
            "osd objectstore": "memstore",
            "memstore device bytes": "4G",
        },
        "client.rgw": {
            "rgw data": f"{folder}/rgw",
            "rgw frontends": f"beast endpoint=127.0.0.1:{port} tcp_nodelay=1",
        },
    }
    sections = (
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in values.items())
        for name, values in settings.items()
    )
    return "\n".join(sections)
