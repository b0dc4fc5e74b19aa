"""Detection over a folder as Ray Data's guides write it: read_images, map_batches, write_parquet.

python benchmarks/peers/ray_data.py '{"images": ..., "out": ..., "events": ..., "model": {...}, ...}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.data import ActorPoolStrategy

sys.path.append(str(Path(__file__).resolve().parents[2]))
from benchmarks.peers.events import note
from cvcore.image.fit import plan_fit
from cvcore.models import build_model
from cvcore.types import DetectOptions
from jobs.model_files import fetch_model
from jobs.spec import ModelSection
from jobs.storage import Access


class Detector:
    def __init__(self, asked: dict[str, Any]) -> None:
        torch.set_num_threads(asked["threads"])
        self.asked = asked
        self.model = build_model(fetch_model(ModelSection(**asked["model"]), Access()).source).eval()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        spec, images = self.model.input_spec, torch.from_numpy(np.stack(batch["image"]))
        fits = [plan_fit(spec.height, spec.width, spec)] * len(images)
        found = self.model.predict(images, fits, DetectOptions(min_score=self.asked["min_score"]))
        note(self.asked["events"], len(images))
        return {
            "path": batch["path"],
            "boxes": [d.boxes.tolist() for d in found],
            "scores": [d.scores.tolist() for d in found],
            "labels": [d.label_ids.tolist() for d in found],
        }


def main(asked: dict[str, Any]) -> None:
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    size = (asked["input_size"], asked["input_size"])
    dataset = ray.data.read_images(asked["images"], size=size, mode="RGB", include_paths=True)
    dataset.map_batches(
        Detector,
        fn_constructor_args=(asked,),
        batch_size=asked["batch_size"],
        compute=ActorPoolStrategy(size=asked["workers"]),
        num_cpus=asked["cpus_per_worker"],
    ).write_parquet(asked["out"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
