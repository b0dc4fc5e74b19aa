"""A CronJob that looks, every few minutes, whether a schedule is due, and runs its job.

In its own pod, or by submitting it to a cluster that is there.
The schedule itself, with its time zone, what was run and who is at it, stands in the store: Kubernetes only
starts the looks. So a look that comes late, twice or never loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cluster.kubernetes.options import GpuGroup, KubernetesSection, NodeGroup
from cluster.kubernetes.pods import (
    LIGHT_LIMITS,
    SPEC_PATH,
    ContainerParts,
    Manifest,
    container,
    pod_template,
    shared_memory_gib,
)
from cluster.kubernetes.quantities import cpus, gib
from cluster.kubernetes.sizes import Fleet
from cluster.remote.address import parse_address
from cluster.schedules.cron import Cron
from cluster.schedules.zones import find_zone
from cluster.token import TOKEN_VARIABLE
from cvcore.errors import SpecError

GRACE_S: Final = 120
"""For a run that is asked to stop to say so in the store, and the next look to go on with it."""

KEPT_LOOKS: Final = 3
TOKEN_KEY: Final = "auth_token"
"""Of the Secret: what KubeRay's operator calls it."""

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
        submit: http://HOST:8265 of the cluster that runs the jobs; None: the pod that looks runs them.
    """

    name: str
    store: str
    cron: str
    timezone: str
    every_minutes: int = 10
    endpoint_url: str | None = None
    region: str | None = None
    submit: str | None = None

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
        SpecError: if the job is to be queued, needs more than one node and is not submitted (a look is one
            pod), or is submitted without a token.
    """
    if options.queue is not None:
        raise SpecError(
            "Kueue would hold every look back, also those that find nothing to do: drop the queue for --cron"
        )
    store = ["--store", schedule.store, *_store_options(schedule)]
    tick, group = (
        _running(fleet, schedule, store)
        if schedule.submit is None
        else (_submitting(options, schedule, store), None)
    )
    define = ContainerParts(
        "define",
        LIGHT_LIMITS,
        command=(
            *("veedor", "schedule", "add", SPEC_PATH, "--name", schedule.name, "--replace"),
            *("--cron", schedule.cron, "--timezone", schedule.timezone, *store),
        ),
    )
    looking = container(tick, options, spec_map=None)
    if schedule.submit is not None:
        looking.setdefault("env", []).append(_token(options))
    template = pod_template(
        [looking], options, group=group, spec_map=spec_map, shared_memory_gib=tick.shared_memory_gib
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


def _running(fleet: Fleet, schedule: Schedule, store: list[str]) -> tuple[ContainerParts, NodeGroup]:
    """A container that runs what is due, and the machines for it."""
    if fleet.model.minimum > 1:
        raise SpecError(
            f"a scheduled job runs in one pod, and this one needs {fleet.model.minimum} nodes: give larger "
            "ones (--cpus, --gpus), lower resources.actors in the spec, or send it to a cluster (--submit)"
        )
    group = fleet.model.group
    limits = {"cpu": cpus(group.cpus), "memory": gib(group.memory_gib)}
    if isinstance(group, GpuGroup):
        limits[group.resource] = str(group.gpus)
    command = ("veedor", "tick", "--only", schedule.name, *store)
    shared = shared_memory_gib(group.memory_gib)
    return ContainerParts("tick", limits, command=command, shared_memory_gib=shared), group


def _submitting(options: KubernetesSection, schedule: Schedule, store: list[str]) -> ContainerParts:
    """A container that sends what is due to a cluster, whose nodes have the image, and follows it."""
    url = parse_address(str(schedule.submit), origin="--submit")
    if options.token_secret is None:
        raise SpecError(
            f"{url} runs a job only for who has its token: name the Secret that holds it under the key "
            f"{TOKEN_KEY} with kubernetes.token_secret in --config. KubeRay's operator makes one of the "
            "RayCluster's name"
        )
    to = ("--submit", url, "--code", "installed")
    command = ("veedor", "tick", "--only", schedule.name, *store, *to)
    return ContainerParts("tick", LIGHT_LIMITS, command=command)


def _token(options: KubernetesSection) -> Manifest:
    """The cluster's token, as a variable that stands in no manifest."""
    key = {"name": options.token_secret, "key": TOKEN_KEY}
    return {"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": key}}


def _store_options(schedule: Schedule) -> list[str]:
    given = {"--endpoint-url": schedule.endpoint_url, "--region": schedule.region}
    return [word for option, value in given.items() if value is not None for word in (option, value)]
