"""A Label Studio of a test's own: on loopback, with its data in a folder, gone afterwards."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

INSTALLED = Path(sys.prefix) / "label_studio"
NEW = INSTALLED / "new"  # the data of a server that nobody used yet, made when it was installed
USER, PASSWORD = "ann@example.org", "a-long-password-1"
START_S, REQUEST_S, STOP_S = 240, 60, 30


@dataclass
class Studio:
    """A running server, and a person's session in it."""

    url: str
    root: Path
    jar: http.cookiejar.CookieJar = field(default_factory=http.cookiejar.CookieJar)

    def ask(self, path: str, body: Any = None, *, form: bool = False) -> Any:
        """A page, or the answer to a POST; JSON is read."""
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))
        token = next((cookie.value for cookie in self.jar if cookie.name == "csrftoken"), "") or ""
        headers = {"X-CSRFToken": token, "Referer": self.url}
        data = None
        if body is not None:
            data = (urllib.parse.urlencode(body) if form else json.dumps(body)).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded" if form else "application/json"
        request = urllib.request.Request(f"{self.url}{path}", data, headers)
        with opener.open(request, timeout=REQUEST_S) as answer:
            text = answer.read().decode()
        return json.loads(text) if text[:1] in "[{" else text

    def log_in(self) -> None:
        """As a person does, by the form."""
        page = self.ask("/user/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert token is not None
        form = {"csrfmiddlewaretoken": token[1], "email": USER, "password": PASSWORD}
        self.ask("/user/login/?next=/api/version", form, form=True)

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """A project's tasks with all that belongs to them, in the order in which they came."""
        found = self.ask(f"/api/tasks/?project={project}&fields=all")["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def open_page(self, browser: Browser, path: str) -> Page:
        """A page of the server in a browser, in this session."""
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        for cookie in self.jar:
            context.add_cookies([{"name": cookie.name, "value": cookie.value or "", "url": self.url}])
        page = context.new_page()
        page.goto(f"{self.url}{path}")
        return page


@contextmanager
def label_studio(root: Path) -> Iterator[Studio]:
    """Start one that shows this machine's files; skips the test where it is not installed."""
    if not INSTALLED.is_dir():
        pytest.skip("Label Studio is not installed: `make tools` installs it")
    if NEW.is_dir():
        shutil.copytree(NEW, root / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(INSTALLED),
        "LABEL_STUDIO_BASE_DATA_DIR": str(root / "data"),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": "/",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
    command = [sys.executable, "-m", "label_studio.server", "start", "--no-browser", "--port", str(port)]
    command += ["--internal-host", "127.0.0.1", "--username", USER, "--password", PASSWORD]
    with (root / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        studio = Studio(f"http://127.0.0.1:{port}", root)
        _wait(studio, process)
        studio.log_in()
        yield studio
    finally:
        process.terminate()
        process.wait(STOP_S)


def _wait(studio: Studio, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, (studio.root / "log").read_text()[-3000:]
        try:
            studio.ask("/version")
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    pytest.fail(f"Label Studio did not start in {START_S} s:\n{(studio.root / 'log').read_text()[-3000:]}")
