"""What a job's steps take here: on a sample of its inputs, with its model, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cvcore.errors import ImageError, SpecError
from cvcore.image.decode import decode_to_canvas
from jobs.prepare import Prepared
from jobs.sink import encode_part
from jobs.sizing.workload import StageTimes
from jobs.stages.decode import canvas_table
from jobs.stages.replica import Replica
from jobs.storage import StorageError, open_store

SAMPLE = 48


def measure_stages(
    prepared: Prepared, *, device: torch.device, sample: int = SAMPLE, say: Callable[[str], None]
) -> StageTimes:
    """Read and decode a sample on one core, and run the model as a replica does.

    Nothing is written: the time that the store takes for a unit's results is `StageTimes`' own.

    Args:
        prepared: the job, as for a dry run.
        device: of the replica; on a CPU it has one thread.
        sample: images at most, spread over the plan.
        say: told what is measured.

    Raises:
        SpecError: where no image of the sample can be read and decoded.
    """
    plan, spec = prepared.plan, prepared.facts.input_spec
    count = plan.inputs.num_images
    if not count:
        raise SpecError("there are no images to measure: videos are not simulated")
    rows = np.unique(np.linspace(0, count - 1, min(sample, count)).astype(int)).tolist()
    say(f"Reading and decoding {len(rows)} images")
    store = open_store(prepared.spec.source.uri, prepared.spec.storage.access())
    found, reading, decoding, sizes, failed = [], [], [], [], 0
    for item in plan.inputs.rows(rows).to_pylist():
        try:
            began = time.perf_counter()
            body = store.read(item["uri"], etag=item["etag"])
            read_s, began = time.perf_counter() - began, time.thread_time()
            decoded = decode_to_canvas(body, spec, limits=prepared.spec.limits.decode_limits())
        except (ImageError, StorageError):
            failed += 1
            continue
        decoding.append(time.thread_time() - began)
        reading.append(read_s)
        sizes.append(len(body))
        found.append((item, decoded))
    if not found:
        raise SpecError(f"none of {failed} images of {prepared.spec.source.uri} could be read and decoded")
    say(f"Running the model on {device}")
    if device.type == "cpu":
        torch.set_num_threads(1)
    replica = Replica(
        prepared.model.source,
        prepared.purpose.task(prepared.facts),
        device,
        prepared.spec.precision,
    )
    # Of a core, processor time: others that work here meanwhile do not count.
    rates = replica.measure(clock=time.perf_counter if device.type == "cuda" else time.thread_time)
    return StageTimes(
        image_bytes=float(np.mean(sizes)),
        request_s=float(np.mean(reading)),
        stream_bytes_per_s=1e12,  # the time until the last byte is what was measured
        decode_s=float(np.mean(decoding)),
        infer_s=1 / max(rates.values()),
        encode_s=_encode_s(replica, found, plan.images_per_unit),
        spread=float(np.std(decoding) / np.mean(decoding)),
    )


def _encode_s(replica: Replica, found: list[tuple[dict[str, Any], Any]], images_per_unit: int) -> float:
    """Seconds to make a unit's Parquet of results."""
    canvases = np.stack([decoded.canvas for _, decoded in found])
    fits = [decoded.fit for _, decoded in found]
    results = replica.run(torch.from_numpy(canvases), fits)
    rows = [
        {
            "uri": item["uri"],
            "etag": item["etag"],
            "status": "ok",
            "width": decoded.fit.source_width,
            "height": decoded.fit.source_height,
        }
        for item, decoded in found
    ]
    batch = canvas_table(rows, canvases.reshape(len(found), -1), replica.head.input_spec, unit=0)
    began = time.thread_time()
    encode_part(replica.head.table(batch, dict(enumerate(results))), {})
    return (time.thread_time() - began) * images_per_unit / len(found)
