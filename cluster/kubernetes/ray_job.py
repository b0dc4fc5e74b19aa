"""KubeRay's RayJob: a cluster for one job, removed after it; and RayCronJob, which makes RayJobs at times."""

from __future__ import annotations

from cluster.kubernetes.options import KubernetesSection
from cluster.kubernetes.pods import LIGHT_LIMITS, SPEC_PATH, ContainerParts, Manifest, container, pod_template
from cluster.kubernetes.ray_cluster import ray_cluster_spec
from cluster.kubernetes.sizes import Fleet


def ray_job_spec(options: KubernetesSection, fleet: Fleet, *, spec_map: str) -> Manifest:
    """The `spec` of a RayJob that runs the spec in the ConfigMap `spec_map`."""
    submitter = container(ContainerParts("submitter", LIGHT_LIMITS), _bare(options), spec_map=None)
    made: Manifest = {
        "entrypoint": f"veedor run {SPEC_PATH}",
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": options.ttl_s,
        "backoffLimit": options.retries,
    }
    if options.deadline_s is not None:
        made["activeDeadlineSeconds"] = options.deadline_s
    made["submitterPodTemplate"] = pod_template([submitter], _bare(options))
    made["submitterPodTemplate"]["spec"]["restartPolicy"] = "Never"
    made["rayClusterSpec"] = ray_cluster_spec(options, fleet, spec_map=spec_map)
    return made


def ray_cron_job_spec(
    options: KubernetesSection, fleet: Fleet, *, spec_map: str, cron: str, timezone: str
) -> Manifest:
    """The `spec` of a RayCronJob that makes such a RayJob at each time of a cron line."""
    return {
        "schedule": cron,
        "timeZone": timezone,
        "jobTemplate": ray_job_spec(options, fleet, spec_map=spec_map),
    }


def _bare(options: KubernetesSection) -> KubernetesSection:
    """Without what only those need that compute: the submitter asks the head to, and follows its log."""
    return options.model_copy(update={"env": {}, "secrets": (), "volumes": ()})
