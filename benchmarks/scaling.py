"""One job on 1, 2 and 4 nodes: how much of each further node is used, and what the driver costs an image.

    python benchmarks/scaling.py [--images 1024] [--nodes 1 2 4] [--latency-ms 400] [--json]

Nodes are raylets of this machine with one logical CPU each. Two loads: a toy model over local files, bound by
this machine's cores, which further nodes share; and the same over S3 whose answers come late, bound by that
delay, which shows what the orchestration itself allows where nodes do have cores of their own. The second is
also predicted, by the simulation of `veedor plan --simulate`, from what decoding and inference of an image
take here, the delay, and what the driver took.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
import torch
from common import Claim, argument_parser, report
from ray.cluster_utils import Cluster
from slow_store import s3_server, slowed
from small_jobs import small_job, write_images

from jobs.annotate import run_annotate
from jobs.prepare import prepare
from jobs.progress import SilentListener
from jobs.sizing.fleet import Fleet, NodeType
from jobs.sizing.measure import measure_stages
from jobs.sizing.simulation import simulate
from jobs.sizing.workload import StageTimes, Workload
from tests.s3_files import new_bucket, upload

MIN_EFFICIENCY = 0.9
CLOSE = 1.25
IMAGES_PER_UNIT = 8
CANVAS_BYTES = 64 * 64 * 3


def run_on(nodes: int, source: str, endpoint_url: str | None, folder: Path) -> dict[str, float]:
    """Run the job in this process on a cluster of its own; its rate and what the driver took."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(nodes - 1):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    spec = small_job(
        source,
        str(folder / f"out-{nodes}-{'local' if endpoint_url is None else 's3'}"),
        folder / "toy",
        storage={"endpoint_url": endpoint_url},
        sink={"images_per_unit": IMAGES_PER_UNIT},
    )
    began = time.process_time()
    result = run_annotate(spec, listener=SilentListener())
    driver_s = time.process_time() - began
    images = result.manifest["counts"]["ok"]
    assert images == result.manifest["counts"]["inputs"], "every image must be read"
    ray.shutdown()
    cluster.shutdown()
    return {"images_per_s": result.images_per_s, "driver_ms_an_image": 1000 * driver_s / images}


def in_fresh_process(*arguments: str) -> dict[str, float]:
    """What `run_on` says, in a process that has run nothing before."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, __file__, "--child", *arguments]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout
    result: dict[str, float] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    """Run both loads on each number of nodes and compare with one node."""
    parser = argument_parser("scaling", __doc__)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--latency-ms", type=float, default=400.0)
    parser.add_argument("--child", nargs=4, help="internal: NODES SOURCE ENDPOINT FOLDER")
    asked = parser.parse_args()
    if asked.child:
        nodes, source, endpoint_url, folder = asked.child
        sys.stdout.write(json.dumps(run_on(int(nodes), source, endpoint_url or None, Path(folder))))
        return
    found: dict[str, dict[int, dict[str, float]]] = {"local files": {}, "late answers": {}}
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name)) as server:
        folder = Path(name)
        write_images(folder / "in", asked.images)
        bucket = new_bucket(server)
        upload(server, bucket, {path.name: path.read_bytes() for path in (folder / "in").iterdir()})
        with slowed(server, asked.latency_ms / 1000) as slow:
            loads = {"local files": (str(folder / "in"), ""), "late answers": (f"s3://{bucket}/", slow.url)}
            for load, (source, endpoint_url) in loads.items():
                for nodes in asked.nodes:
                    found[load][nodes] = in_fresh_process(str(nodes), source, endpoint_url, name)
        times = measured_times(folder, asked.latency_ms / 1000, found["late answers"])
    predicted = {nodes: predict_rate(asked.images, times, nodes) for nodes in asked.nodes}
    claims = _claims(found, asked.latency_ms) + _predictions(found["late answers"], predicted)
    details = {"images": asked.images, "loads": found, "times": asdict(times), "predicted": predicted}
    report("scaling", claims, details, asked.json)


def measured_times(folder: Path, latency_s: float, runs: dict[int, dict[str, float]]) -> StageTimes:
    """What a job's steps take over late answers."""
    spec = small_job(str(folder / "in"), str(folder / "measured"), folder / "toy")
    prepared = prepare(spec, listener=SilentListener())
    found = measure_stages(prepared, device=torch.device("cpu"), say=lambda _: None)
    driver_ms = sum(run["driver_ms_an_image"] for run in runs.values()) / len(runs)
    return replace(
        found,
        request_s=found.request_s + latency_s,
        put_s=latency_s,
        encode_s=found.encode_s * IMAGES_PER_UNIT / prepared.plan.images_per_unit,
        driver_s=driver_ms * IMAGES_PER_UNIT / 1000,
    )


def predict_rate(images: int, times: StageTimes, nodes: int) -> float:
    """Images a second that the simulation expects of so many nodes of one CPU."""
    work = Workload(images, CANVAS_BYTES, times, images_per_unit=IMAGES_PER_UNIT)
    return simulate(work, Fleet(NodeType(cpus=1), nodes)).images_per_s


def _predictions(runs: dict[int, dict[str, float]], predicted: dict[int, float]) -> list[Claim]:
    claims = []
    for nodes, run in runs.items():
        ratio = predicted[nodes] / run["images_per_s"]
        claims.append(
            Claim(
                f"simulated ÷ measured, {nodes} node{'s' * (nodes > 1)}, late answers",
                f"{1 / CLOSE:g} to {CLOSE:g}",
                f"{ratio:.2f} ({predicted[nodes]:.0f} / {run['images_per_s']:.0f} images/s)",
                1 / CLOSE <= ratio <= CLOSE,
            )
        )
    return claims


def _claims(found: dict[str, dict[int, dict[str, float]]], latency_ms: float) -> list[Claim]:
    claims = []
    for load, runs in found.items():
        first = min(runs)
        base = runs[first]["images_per_s"] / first
        is_bound_by_cores = load == "local files"
        for nodes, run in list(runs.items())[1:]:
            efficiency = run["images_per_s"] / (nodes * base)
            claims.append(
                Claim(
                    f"efficiency of {nodes} nodes, {load}"
                    + ("" if is_bound_by_cores else f" ({latency_ms:g} ms each)"),
                    "" if is_bound_by_cores else f"at least {MIN_EFFICIENCY:g}",
                    f"{efficiency:.2f} ({run['images_per_s']:.0f} images/s; one node {base:.0f})",
                    None if is_bound_by_cores else efficiency >= MIN_EFFICIENCY,
                )
            )
    costs: dict[str, Any] = {
        load: [run["driver_ms_an_image"] for run in runs.values()] for load, runs in found.items()
    }
    worst = max(max(values) for values in costs.values())
    claims.append(Claim("CPU time of the driver an image, units of 8 images", "", f"at most {worst:.1f} ms"))
    return claims


if __name__ == "__main__":
    main()
