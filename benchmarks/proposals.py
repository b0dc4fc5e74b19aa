"""Selective search against OpenCV's (`cv2.ximgproc.segmentation`): what it covers, and how long it takes.

    python benchmarks/proposals.py [--images 36] [--scenes 24] [--json]

Blood cells: images and boxes of BCCD's test split. Scenes: the project's own. Both search each image in the
same process, one after the other, on one thread. OpenCV returns all of its boxes; ours are measured as they
come, and again with no more boxes, image by image, than OpenCV gave. MABO is the mean over classes of the
average best overlap.

OpenCV's contributed modules are kept apart: pip install --no-deps --target .venv/proposal_peers
-r benchmarks/peers/proposal_peers.txt
"""

from __future__ import annotations

import os
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Claim, argument_parser, report
from PIL import Image

from cvcore.metrics.proposals import CoveredImage, ProposalMetrics, evaluate_proposals
from cvcore.propose.options import SelectiveSearchOptions, StrategyName
from cvcore.propose.selective_search import selective_search
from cvcore.scenes.parts import PART_NAMES
from cvcore.scenes.scene import render_scene

PEERS = Path(os.environ.get("VEEDOR_PROPOSAL_PEERS", Path(sys.prefix) / "proposal_peers"))
BCCD = Path(os.environ.get("VEEDOR_DATA", ROOT.parent / "shared" / "data")) / "detect" / "bccd"
STRATEGIES: tuple[StrategyName, ...] = ("fast", "quality")
FIRST_SCENE = 5_000_000


@dataclass(frozen=True)
class Sample:
    """An RGB image, (H, W, 3), with the boxes, (M, 4) xyxy pixels, and classes of its objects."""

    image: np.ndarray
    objects: np.ndarray
    labels: tuple[str, ...]


def blood_cells(num: int) -> Iterator[Sample]:
    """Of BCCD's test split; its boxes count pixels from 1."""
    names = (BCCD / "ImageSets" / "Main" / "test.txt").read_text().split()
    for name in names[:num]:
        root = ET.parse(BCCD / "Annotations" / f"{name}.xml").getroot()
        boxes, labels = [], []
        for item in root.iter("object"):
            x0, y0, x1, y1 = (
                float(item.findtext(f"bndbox/{key}") or 0) for key in "xmin ymin xmax ymax".split()
            )
            if x1 > x0 and y1 > y0:
                boxes.append([x0 - 1, y0 - 1, x1, y1])
                labels.append(item.findtext("name") or "")
        with Image.open(BCCD / "JPEGImages" / f"{name}.jpg") as file:
            image = np.asarray(file.convert("RGB"))
        yield Sample(image, np.array(boxes).reshape(-1, 4), tuple(labels))


def sample_scenes(num: int) -> Iterator[Sample]:
    """Rendered parts on a conveyor."""
    for seed in range(FIRST_SCENE, FIRST_SCENE + num):
        scene = render_scene(seed)
        labels = tuple(PART_NAMES[int(label)] for label in scene.label_ids)
        yield Sample(scene.image, np.asarray(scene.boxes, np.float64).reshape(-1, 4), labels)


def search_opencv(image: np.ndarray, strategy: StrategyName) -> np.ndarray:
    """All boxes, xyxy, in OpenCV's order and with its defaults."""
    import cv2

    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(image[..., ::-1]))
    if strategy == "fast":
        search.switchToSelectiveSearchFast()
    else:
        search.switchToSelectiveSearchQuality()
    found = np.asarray(search.process(), np.float64).reshape(-1, 4)
    found[:, 2:] += found[:, :2]
    return found


def compare(samples: list[Sample], strategy: StrategyName) -> dict[str, dict[str, Any]]:
    """Figures of both."""
    options = SelectiveSearchOptions(strategy=strategy, max_boxes=None)
    selective_search(samples[0].image[:32, :32], options)  # compiles
    seconds = {"ours": 0.0, "OpenCV": 0.0}
    covered: dict[str, list[CoveredImage]] = {"ours": [], "ours, no more boxes": [], "OpenCV": []}
    for sample in samples:
        started = time.perf_counter()
        mine = selective_search(sample.image, options)
        seconds["ours"] += time.perf_counter() - started
        started = time.perf_counter()
        other = search_opencv(sample.image, strategy)
        seconds["OpenCV"] += time.perf_counter() - started
        for name, boxes in (("ours", mine), ("ours, no more boxes", mine[: len(other)]), ("OpenCV", other)):
            covered[name].append(CoveredImage(boxes, sample.objects, sample.labels))
    return {
        name: {
            "seconds_per_image": round(seconds[name.partition(",")[0]] / len(samples), 4),
            **_rounded(evaluate_proposals(images)),
        }
        for name, images in covered.items()
    }


def _rounded(metrics: ProposalMetrics) -> dict[str, Any]:
    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(each) for key, each in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    return {key: short(value) for key, value in asdict(metrics).items()}


def claims_of(data: str, strategy: StrategyName, found: dict[str, dict[str, Any]]) -> list[Claim]:
    """Coverage and time, beside OpenCV's."""
    mine, other = found["ours, no more boxes"], found["OpenCV"]
    ratio = other["seconds_per_image"] / mine["seconds_per_image"]
    return [
        Claim(
            f"selective search, {strategy}, {data}: boxes an image / recall at IoU 0.5 / MABO, beside OpenCV",
            "no more boxes, recall and MABO no less",
            f"{_line(mine)} beside {_line(other)}",
            mine["recall"] >= other["recall"] and mine["mabo"] >= other["mabo"],
        ),
        Claim(
            f"selective search, {strategy}, {data}: times as fast as OpenCV",
            "> 1",
            f"{ratio:.1f} ({mine['seconds_per_image']:.3f} / {other['seconds_per_image']:.3f} s an image)",
            ratio > 1,
        ),
    ]


def _line(figures: dict[str, Any]) -> str:
    return f"{figures['boxes_per_image']:,.0f} / {figures['recall']:.3f} / {figures['mabo']:.3f}"


def main() -> None:
    """Search both sets with both strategies, and compare."""
    parser = argument_parser("proposals", __doc__)
    parser.add_argument("--images", type=int, default=36)
    parser.add_argument("--scenes", type=int, default=24)
    asked = parser.parse_args()
    if not PEERS.is_dir():
        parser.error(f"{PEERS} is missing: make bench installs it")
    sys.path.insert(0, str(PEERS))
    import cv2

    cv2.setNumThreads(1)
    claims: list[Claim] = []
    details: dict[str, Any] = {}
    for data, samples in (
        (f"{asked.images} images of blood cells", list(blood_cells(asked.images))),
        (f"{asked.scenes} sample scenes", list(sample_scenes(asked.scenes))),
    ):
        details[data] = {}
        for strategy in STRATEGIES:
            details[data][strategy] = compare(samples, strategy)
            claims += claims_of(data, strategy, details[data][strategy])
    report("proposals", claims, details, asked.json)


if __name__ == "__main__":
    main()
