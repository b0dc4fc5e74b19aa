"""Running the job of a spec's content to its end, whatever that is, and telling of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cluster.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OVER_LIMIT, EXIT_USAGE
from cvcore.errors import VeedorError

if TYPE_CHECKING:
    from cluster.console import Display
    from jobs.outcome import RunResult


@dataclass(frozen=True)
class Ending:
    """How a job ended: what it exits with, what was said to be wrong, and its result where it has one."""

    exit_code: int
    error: str | None = None
    result: RunResult | None = None


def end_content(
    content: dict[str, Any],
    *,
    address: str | None,
    as_json: bool,
    verbose: bool,
    dry_run: bool = False,
    name: str = "the command line",
    display: Display | None = None,
    **more: Any,
) -> Ending:
    """Run the job of a spec's content and show it, in the process's main thread.

    `display` is told in place of the one that fits the output. `more` goes to the job beside its spec: what
    no record may hold. A dry run only shows what would be done.
    """
    from cluster.console import open_display
    from cluster.last_words import last_words
    from jobs.catalog import find_job
    from jobs.outcome import JobFailed
    from jobs.spec import validate_spec

    display = display or open_display(as_json=as_json)
    try:
        job = find_job(content)
        spec = validate_spec(content, job.spec, name=name)
        if dry_run:
            from cluster.dry_run import print_dry_run

            print_dry_run(spec, display, address=address)
            return Ending(0)
        with last_words(as_json=as_json):
            result = job.run(spec, listener=display, address=address, verbose=verbose, **more)
        display.result(result)
        if not result.over_limit:
            return Ending(0, None, result)
        counts = result.manifest["counts"]
        ending = Ending(
            EXIT_OVER_LIMIT,
            f"{counts['failed']:,} of {counts['inputs']:,} inputs failed; "
            f"limits.max_failed_fraction = {spec.limits.max_failed_fraction:g} allows fewer",
            result,
        )
    except JobFailed as error:
        ending = Ending(EXIT_FAILED, str(error))
    except VeedorError as error:
        ending = Ending(EXIT_USAGE, str(error))
    except KeyboardInterrupt:
        ending = Ending(
            EXIT_INTERRUPTED,
            "interrupted: what is published stays; run the same command again to continue",
        )
    finally:
        display.close()
    assert ending.error is not None
    display.error(ending.error)
    return ending
