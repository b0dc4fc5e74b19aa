"""Running a schedule's jobs on a cluster: submitted as `veedor submit` does, and followed to their end.

The cluster refuses a second job of one name. So whoever takes over from a process that died joins the job
that it had submitted, if that still runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.console import Display, open_display
from cluster.exits import EXIT_FAILED, EXIT_USAGE
from cluster.schedules.records import Report
from cluster.schedules.runner import Work, report_of
from cvcore.errors import VeedorError
from jobs.outcome import JobFailed, RunResult
from jobs.progress import Snapshot
from jobs.scan_spec import ScanSpec


@dataclass(frozen=True)
class Destination:
    """Where jobs are submitted, and what with; see `veedor submit`.

    Attributes:
        address: http://HOST:8265.
        code: `tree`, `installed`, or a wheel.
        shared_paths: whether local paths are the same on every node.
        token_file: with the cluster's token.
        insecure: whether a cluster beyond this machine may have none.
    """

    address: str
    code: str = "tree"
    shared_paths: bool = False
    token_file: Path | None = None
    insecure: bool = False


class SubmitRunner:
    """Submits jobs and follows them; when this process ends, they go on."""

    def __init__(self, to: Destination, *, as_json: bool, verbose: bool) -> None:
        self._to = to
        self._as_json = as_json
        self._verbose = verbose

    def run(self, work: Work) -> Report:
        noting = Noting(open_display(as_json=self._as_json))
        try:
            code, problems = self._run(work, noting)
        except VeedorError as error:
            noting.error(str(error))
            code, problems = EXIT_FAILED if isinstance(error, JobFailed) else EXIT_USAGE, []
        finally:
            noting.close()
        return report_of(code, noting.last_error, noting.last_result, problems)

    def _run(self, work: Work, noting: Noting) -> tuple[int, list[str]]:
        """The job's exit code, and what went wrong when a scan told of anomalies."""
        from cluster.remote.code import find_code
        from cluster.remote.connect import connect
        from cluster.remote.follow import follow
        from cluster.remote.submit import submit
        from jobs.catalog import find_job
        from jobs.spec import validate_spec

        to, content = self._to, dict(work.content)
        webhook = work.webhook
        spec = validate_spec(content, find_job(content).spec, name=str(work))
        cluster = connect(to.address, token_file=to.token_file, insecure=to.insecure, say=noting.step)
        submitted = submit(
            cluster,
            spec,
            find_code(to.code),
            shared_paths=to.shared_paths,
            verbose=self._verbose,
        )
        noting.step(
            f"{'Submitted' if submitted.started else 'Joined'} {submitted.submission_id} at {cluster.url}",
            submission_id=submitted.submission_id,
            address=cluster.url,
        )
        ended = follow(cluster, submitted.submission_id, noting)
        if webhook is None or noting.last_result is None or not isinstance(spec, ScanSpec):
            return ended.code, []
        return ended.code, _tell(spec, noting.last_result, webhook)


def _tell(spec: ScanSpec, result: RunResult, webhook: str) -> list[str]:
    """Tell of a scan from here: its driver on the cluster is told no address."""
    from jobs.alerts import AlertSettings, send_alerts
    from jobs.decisions import ScanRoot
    from jobs.storage import open_store

    number = result.manifest["scan"]["number"]
    if not number:
        return []
    settings = AlertSettings(webhook)
    settings.check()
    store = open_store(spec.sink.uri, spec.storage.access())
    return send_alerts(ScanRoot(spec.sink.uri), number, settings, store)


class Noting:
    """Shows a run on a display, and notes its result and what was last said to be wrong."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self.last_result: RunResult | None = None
        self.last_error: str | None = None

    def step(self, text: str, **facts: Any) -> None:
        self._display.step(text, **facts)

    def progress(self, snapshot: Snapshot) -> None:
        self._display.progress(snapshot)

    def result(self, result: RunResult) -> None:
        self.last_result = result
        self._display.result(result)

    def error(self, message: str) -> None:
        self.last_error = message
        self._display.error(message)

    def close(self) -> None:
        self._display.close()
