"""A driver that is killed while it proposes leaves what the same command completes."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from cvcore.scenes.coco import write_scenes
from tests.runs import last_event, read_local_rows, veedor, veedor_command

NUM_IMAGES = 24


def test_what_was_published_stays_and_the_rows_are_those_of_a_run_that_nothing_ended(tmp_path: Path) -> None:
    write_scenes(tmp_path, num_scenes=NUM_IMAGES, seed=91)
    whole, cut = (_spec(tmp_path, name) for name in ("whole", "cut"))
    done = veedor("run", str(whole), "--json")
    assert done.returncode == 0, done.stdout + done.stderr

    driver = subprocess.Popen(veedor_command("run", str(cut), "--json"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(_parts(tmp_path)) < 2:
        assert time.monotonic() < deadline, "no parts appeared"
        time.sleep(0.02)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait(timeout=60) == -signal.SIGKILL
    time.sleep(3)  # its workers may publish for a moment more
    published = _parts(tmp_path)
    assert len(published) < NUM_IMAGES, "the driver was killed too late to prove anything"

    again = veedor("run", str(cut), "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert last_event(again.stdout)["counts"]["ok"] == NUM_IMAGES
    parts = _parts(tmp_path)
    assert {name: parts[name] for name in published} == published, "a published part was written again"
    assert read_local_rows(tmp_path / "cut").equals(read_local_rows(tmp_path / "whole"))


def _spec(folder: Path, name: str) -> Path:
    content = {
        "job": "propose",
        "source": {"uri": str(folder / "images")},
        "propose": {"strategy": "single", "max_boxes": 200, "seed": 5},
        "sink": {"uri": str(folder / name), "images_per_unit": 1},
        "resources": {"actors": 1, "gpus_per_actor": 0, "batch_size": 1},
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def _parts(folder: Path) -> dict[str, int]:
    data = folder / "cut" / "data"
    return {path.name: path.stat().st_mtime_ns for path in data.glob("part-*")}
