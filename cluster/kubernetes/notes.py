"""What a user should know of manifests that are right, and may still surprise."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.kubernetes.manifests import Order
from cluster.kubernetes.options import GpuGroup
from cluster.kubernetes.places import uses_s3
from cluster.kubernetes.sizes import plan_fleet


def notes(order: Order) -> list[str]:
    """A sentence for each."""
    return list(_notes(order))


def _notes(order: Order) -> Iterator[str]:
    options = order.options
    store = order.schedule.store if order.schedule else ""
    if not (options.secrets or options.service_account) and (
        uses_s3(order.spec) or store.startswith("s3://")
    ):
        yield (
            "no --secret and no --service-account: the pods reach s3:// only if their machines' own role may"
        )
    fleet = plan_fleet(order.spec.resources, options, lasting=order.kind == "RayCluster")
    if any(not volume.read_only for volume in options.volumes) and order.kind != "CronJob":
        yield "a volume is written from several pods: its claim must be ReadWriteMany"
    if order.kind == "CronJob" and isinstance(fleet.model.group, GpuGroup):
        assert order.schedule is not None
        if order.schedule.submit is None:
            yield (
                f"each look, every {order.schedule.every_minutes} minutes, starts a pod with GPUs, also "
                "where nothing is due; --every-minutes 60 looks less often, and --submit has a cluster run "
                "the jobs"
            )
    if order.kind == "RayCronJob":
        yield (
            "RayCronJob is alpha, behind a feature gate of the operator, and after downtime may make all "
            "jobs that it missed at once; a CronJob that ticks (--cron with --store) runs them as one"
        )
