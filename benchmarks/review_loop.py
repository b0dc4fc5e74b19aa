"""From real images to corrected labels to a better model: the loop of review, once, by veedor's own commands.

    python benchmarks/review_loop.py [--json] [--work FOLDER] [--threads 1]

Blood cells of BCCD: a few labelled images make a weak model, which annotates the rest of the train split. The
most doubtful images become a review queue for Label Studio, and come back with what was published for them,
in place of a person's work. The model goes on learning from what was decided. The same is done with as many
images drawn at random. Models are measured on the test split; the val split picks the epoch.

Every step is a command as a user types it, and a step whose result stands in `--work` is not done again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import Claim, argument_parser, report

from cvcore.datasets.records import BoxDataset, ImageRecord
from jobs.datasets import open_dataset
from tests.data import shared_data

BCCD, BACKBONE = "detect/bccd", "weights/squeezenet1_1-imagenet/squeezenet1_1.safetensors"
NUM_SEED, NUM_REVIEWED = 20, 40
WEAK_EPOCHS, MORE_EPOCHS = 30, 12
MODEL = ("--model", "ssd300", "--backbone", "squeezenet1_1", "--width", "0.25", "--batch-size", "4")
VIEWS = ("--augment", "flip,turn,jitter,hsv", "--warmup-steps", "20")
PUBLISHED = "published truth"


class Steps:
    """Runs commands in a folder, each once; times are kept with what they left."""

    def __init__(self, work: Path, threads: int) -> None:
        self.work, self._threads = work, threads
        self._log = work / "times.json"
        self.seconds: dict[str, float] = json.loads(self._log.read_text()) if self._log.exists() else {}

    def done(self, name: str) -> bool:
        """Whether a step was done before."""
        return name in self.seconds

    def run(self, name: str, *arguments: object) -> None:
        """Run `veedor` with some arguments, unless it was."""
        if self.done(name):
            return
        print(f"{name}: veedor {' '.join(map(str, arguments))}", flush=True)
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "cluster.cli", *map(str, arguments)], check=True)
        self.note(name, time.perf_counter() - start)

    def train(self, name: str, data: Path, *options: object) -> None:
        """Train a detector, with the val split of BCCD to pick the epoch."""
        val = ("--val-data", shared_data(BCCD), "--val-split", "val")
        threads = ("--num-threads", self._threads)
        self.run(name, "train", data, *MODEL, *VIEWS, *val, *threads, *options, "--out", self.work / name)

    def note(self, name: str, seconds: float) -> None:
        """Say that a step is done."""
        self.seconds[name] = seconds
        self._log.write_text(json.dumps(self.seconds, indent=1))


def coco_document(images: Mapping[str, ImageRecord], labels: tuple[str, ...]) -> dict[str, Any]:
    """Images, by the names that a folder has for them, as a COCO document."""
    annotations = []
    for k, each in enumerate(images.values(), 1):
        for (x0, y0, x1, y1), label in zip(each.boxes.tolist(), each.label_ids.tolist(), strict=True):
            box = [x0, y0, x1 - x0, y1 - y0]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": k, "category_id": label + 1, "bbox": box}
            )
    return {
        "images": [
            {"id": k, "file_name": name, "width": each.width, "height": each.height}
            for k, (name, each) in enumerate(images.items(), 1)
        ],
        "annotations": annotations,
        "categories": [{"id": k, "name": label} for k, label in enumerate(labels, 1)],
    }


def answer(tasks: list[dict[str, Any]], truth: Mapping[str, ImageRecord], labels: tuple[str, ...]) -> None:
    """Submit what was published for each task, as Label Studio exports it: in percent."""
    for task in tasks:
        each = truth[Path(task["data"]["name"]).name]
        shared = {"original_width": each.width, "original_height": each.height, "image_rotation": 0}
        result = []
        for k, (box, label) in enumerate(zip(each.boxes.tolist(), each.label_ids.tolist(), strict=True)):
            x0, x1 = (100 * v / each.width for v in box[0::2])
            y0, y1 = (100 * v / each.height for v in box[1::2])
            value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
            value["rectanglelabels"] = [labels[label]]
            names = {"id": f"truth{k}", "type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            result.append({**names, **shared, "value": value})
        task["annotations"] = [{"result": result, "was_cancelled": False}]


def start(steps: Steps, dataset: BoxDataset, truth: Mapping[str, ImageRecord]) -> None:
    """The weak model and its run over the pool, in which the labelled images are decided."""
    work, pool = steps.work, steps.work / "pool"
    if not steps.done("pool"):
        pool.mkdir(exist_ok=True)
        for name, each in truth.items():
            shutil.copyfile(shared_data(BCCD) / each.name, pool / name)
        seed = dict(sorted(truth.items())[:: len(truth) // NUM_SEED][:NUM_SEED])
        (work / "seed.json").write_text(json.dumps(coco_document(seed, dataset.labels)))
        steps.note("pool", 0.0)
    given = (work / "seed.json", "--format", "coco")
    steps.run("seed", "import", *given, "--as-dataset", work / "seed", "--images", pool)
    steps.train("weak", work / "seed", "--init", shared_data(BACKBONE), "--epochs", WEAK_EPOCHS)
    steps.run("run", "annotate", pool, "--model", work / "weak", "--min-score", "0.3", "--out", work / "run")
    steps.run("seed decided", "import", *given, "--into", work / "run", "--who", PUBLISHED)


def review(steps: Steps, order: str, truth: Mapping[str, ImageRecord], labels: tuple[str, ...]) -> None:
    """One queue, answered, and the model that goes on with it."""
    work = steps.work
    run, queue, reviewed = (work / f"{name}-{order}" for name in ("run", "queue", "reviewed"))
    if not steps.done(f"run-{order}"):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(work / "run", run)
        steps.note(f"run-{order}", 0.0)
    wanted = ("--order", order, "--limit", NUM_REVIEWED, "--corrections", "undecided")
    steps.run(f"queue-{order}", "export", run, "--format", "label-studio", *wanted, "--out", queue)
    answered = work / f"answered-{order}.json"
    tasks = json.loads((queue / "tasks.json").read_text())
    answer(tasks, truth, labels)
    answered.write_text(json.dumps(tasks))
    given = ("--format", "label-studio", "--into", run, "--who", PUBLISHED)
    steps.run(f"import-{order}", "import", answered, *given)
    decided = ("--format", "coco", "--corrections", "only", "--out", reviewed)
    steps.run(f"reviewed-{order}", "export", run, *decided)
    dataset = work / f"dataset-{order}"
    made = ("--format", "coco", "--as-dataset", dataset, "--images", work / "pool")
    steps.run(f"dataset-{order}", "import", reviewed / "annotations.json", *made)
    go_on(steps, f"model-{order}", dataset, MORE_EPOCHS)


def go_on(steps: Steps, name: str, dataset: Path, epochs: int) -> None:
    """The weak model, trained on."""
    weights = ("--init", steps.work / "weak" / "model.safetensors")
    steps.train(name, dataset, *weights, "--epochs", epochs, "--lr", "5e-4")


def measure(steps: Steps, name: str) -> dict[str, Any]:
    """A model's metrics on the test split."""
    out = steps.work / f"evaluated-{name}"
    data = ("--data", shared_data(BCCD), "--split", "test", "--speed-s", "0")
    steps.run(f"evaluated-{name}", "evaluate", steps.work / name, *data, "--out", out)
    found: dict[str, Any] = json.loads((out / "evaluation.json").read_text())["metrics"]
    return found


def said(run: Path) -> dict[str, int]:
    """How many objects were said what of, in all imports of a run."""
    from jobs.query.session import open_query
    from jobs.storage import Access

    sql = "select action, count(*) from corrections group by 1 order by 1"
    return dict(open_query(str(run), access=Access()).ask(sql).rows)


def main() -> None:
    parser = argument_parser("review_loop", __doc__ or "")
    parser.add_argument("--work", type=Path, help="keep what steps leave, and go on from there")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        work = (asked.work or Path(passing)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        steps = Steps(work, asked.threads)
        dataset = open_dataset(str(shared_data(BCCD))).read("train")
        truth = {Path(each.name).name: each for each in dataset.images}
        start(steps, dataset, truth)
        for order in ("uncertain", "random"):
            review(steps, order, truth, dataset.labels)
        names = ("weak", "model-uncertain", "model-random")
        metrics = {name: measure(steps, name) for name in names}
        actions = {order: said(work / f"run-{order}") for order in ("uncertain", "random")}
        scores = {name: float(found["ap50"]) for name, found in metrics.items()}
    claims = [
        Claim(f"BCCD, {NUM_SEED} labelled images: mAP@0.5 on test", "", f"{scores['weak']:.3f}"),
        Claim(
            f"after a review of the {NUM_REVIEWED} most doubtful images",
            "better",
            f"{scores['model-uncertain']:.3f}",
            scores["model-uncertain"] > scores["weak"],
        ),
        Claim(f"after a review of {NUM_REVIEWED} drawn at random", "", f"{scores['model-random']:.3f}"),
    ]
    details = {"metrics": metrics, "corrections": actions, "seconds": steps.seconds}
    report("review_loop", claims, details, asked.json)


if __name__ == "__main__":
    main()
