"""A CronJob that looks, every few minutes, whether a schedule is due, and runs its job in its own pod.

The schedule itself, with its time zone, what was run and who is at it, stands in the store: Kubernetes only
starts the looks. So a look that comes late, twice or never loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cluster.kubernetes.options import GpuGroup, KubernetesSection
from cluster.kubernetes.pods import (
    SPEC_PATH,
    ContainerParts,
    Manifest,
    container,
    pod_template,
    shared_memory_gib,
)
from cluster.kubernetes.quantities import cpus, gib
from cluster.kubernetes.sizes import Fleet
from cluster.schedules.cron import Cron
from cluster.schedules.zones import find_zone
from cvcore.errors import SpecError

GRACE_S: Final = 120
"""For a run that is asked to stop to say so in the store, and the next look to go on with it."""

DEFINE_LIMITS: Final = {"cpu": "500m", "memory": "1Gi"}
KEPT_LOOKS: Final = 3
MINUTES: Final = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)
"""What divides an hour: cron's steps begin anew with each."""


@dataclass(frozen=True)
class Schedule:
    """When a job is run.

    Attributes:
        name: of the schedule in the store.
        store: location of the schedules.
        cron, timezone: when it is due.
        every_minutes: how often is looked.
        endpoint_url, region: of the store.
    """

    name: str
    store: str
    cron: str
    timezone: str
    every_minutes: int = 10
    endpoint_url: str | None = None
    region: str | None = None

    def __post_init__(self) -> None:
        Cron(self.cron)
        find_zone(self.timezone)
        if self.every_minutes not in MINUTES:
            raise SpecError(
                f"every {self.every_minutes} minutes is not a part of an hour: one of "
                f"{', '.join(map(str, MINUTES))}"
            )

    @property
    def looks(self) -> str:
        """The cron line of the looks."""
        return "0 * * * *" if self.every_minutes == 60 else f"*/{self.every_minutes} * * * *"


def cron_job_spec(options: KubernetesSection, fleet: Fleet, schedule: Schedule, *, spec_map: str) -> Manifest:
    """The `spec` of a batch/v1 CronJob.

    Raises:
        SpecError: if the job needs more than one node, or is to be queued: a look is one pod.
    """
    if options.queue is not None:
        raise SpecError(
            "Kueue would hold every look back, also those that find nothing to do: drop the queue for --cron"
        )
    if fleet.model.minimum > 1:
        raise SpecError(
            f"a scheduled job runs in one pod, and this one needs {fleet.model.minimum} nodes: give larger "
            "ones (--cpus, --gpus), or lower resources.actors in the spec"
        )
    group = fleet.model.group
    shared = shared_memory_gib(group.memory_gib)
    limits = {"cpu": cpus(group.cpus), "memory": gib(group.memory_gib)}
    if isinstance(group, GpuGroup):
        limits[group.resource] = str(group.gpus)
    store = ["--store", schedule.store, *_store_options(schedule)]
    define = ContainerParts(
        "define",
        DEFINE_LIMITS,
        command=(
            *("veedor", "schedule", "add", SPEC_PATH, "--name", schedule.name, "--replace"),
            *("--cron", schedule.cron, "--timezone", schedule.timezone, *store),
        ),
    )
    tick = ContainerParts(
        "tick",
        limits,
        command=("veedor", "tick", "--only", schedule.name, *store),
        shared_memory_gib=shared,
    )
    template = pod_template(
        [container(tick, options, spec_map=None)],
        options,
        group=group,
        spec_map=spec_map,
        shared_memory_gib=shared,
    )
    template["spec"] |= {
        "initContainers": [container(define, options, spec_map=spec_map)],
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
    }
    job: Manifest = {
        # The next look tries again, as the schedule says.
        "backoffLimit": 0,
        "ttlSecondsAfterFinished": options.ttl_s,
        "template": template,
    }
    if options.deadline_s is not None:
        job["activeDeadlineSeconds"] = options.deadline_s
    return {
        "schedule": schedule.looks,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": schedule.every_minutes * 60,
        "successfulJobsHistoryLimit": KEPT_LOOKS,
        "failedJobsHistoryLimit": KEPT_LOOKS,
        "jobTemplate": {"spec": job},
    }


def _store_options(schedule: Schedule) -> list[str]:
    given = {"--endpoint-url": schedule.endpoint_url, "--region": schedule.region}
    return [word for option, value in given.items() if value is not None for word in (option, value)]
