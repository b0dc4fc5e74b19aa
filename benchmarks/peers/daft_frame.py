"""Detection over a folder as Daft's guides write it: download, decode, resize, a class UDF, write_parquet.

PYTHONPATH=<where Daft is> python benchmarks/peers/daft_frame.py '{"images": ..., "out": ..., ...}'
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import daft
import numpy as np
import torch
from daft import DataType, col

sys.path.append(str(Path(__file__).resolve().parents[2]))
from benchmarks.peers.events import note
from cvcore.image.fit import plan_fit
from cvcore.models import build_model
from cvcore.types import DetectOptions
from jobs.model_files import fetch_model
from jobs.spec import ModelSection
from jobs.storage import Access

ASKED: dict[str, Any] = json.loads(sys.argv[1]) if __name__ == "__main__" else {"workers": 1, "batch_size": 8}
FOUND = DataType.struct(
    {
        "boxes": DataType.list(DataType.list(DataType.float32())),
        "scores": DataType.list(DataType.float32()),
        "labels": DataType.list(DataType.int64()),
    }
)


@daft.cls(max_concurrency=ASKED["workers"], use_process=ASKED["workers"] > 1)
class Detector:
    def __init__(self, asked: dict[str, Any]) -> None:
        torch.set_num_threads(asked["threads"])
        self.asked = asked
        self.model = build_model(fetch_model(ModelSection(**asked["model"]), Access()).source).eval()

    @daft.method.batch(return_dtype=FOUND, batch_size=ASKED["batch_size"])
    def detect(self, column: daft.Series) -> list[dict[str, Any]]:
        spec, images = self.model.input_spec, torch.from_numpy(np.stack(column.to_pylist()))
        fits = [plan_fit(spec.height, spec.width, spec)] * len(images)
        found = self.model.predict(images, fits, DetectOptions(min_score=self.asked["min_score"]))
        note(self.asked["events"], len(images))
        return [
            {"boxes": d.boxes.tolist(), "scores": d.scores.tolist(), "labels": d.label_ids.tolist()}
            for d in found
        ]


def main() -> None:
    side = ASKED["input_size"]
    frame = daft.from_glob_path(f"{ASKED['images']}/*.jpg")
    frame = frame.with_column("image", col("path").download().decode_image(mode="RGB").resize(side, side))
    frame = frame.with_column("found", Detector(ASKED).detect(frame["image"]))
    frame.select("path", "found").write_parquet(ASKED["out"])


if __name__ == "__main__":
    main()
