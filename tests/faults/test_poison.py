"""An input that kills, hangs or bloats the process that works on it costs one row."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.corpus import encode, good_image, good_name, toy_model
from tests.runs import last_event, read_local_rows, veedor

NUM_IMAGES = 40
MB = 2**20

# Found by every Python process of the run: a decoder with fatal bugs, and a network with another.
SITE = """
import ctypes, os, signal, sys, time


def arm_decoder():
    import cvcore.image.decode as decode

    sound = decode.decode_to_canvas

    def deadly(data, *arguments, **options):
        if b"kills the decoder" in data:
            ctypes.string_at(0)  # a true fault: a signal sent would let this thread go on for a while
        if b"hangs the decoder" in data:
            time.sleep(3600)
        if b"feeds the decoder" in data:
            eaten = []
            while True:
                eaten.append(bytearray(b"x" * 2**24))
        return sound(data, *arguments, **options)

    decode.decode_to_canvas = deadly


def arm_network():
    from cvcore.darknet.detector import DarknetDetector

    sound = DarknetDetector.preprocess

    def deadly(self, canvases, fits=None):
        if (canvases == 255).flatten(1).all(dim=1).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return sound(self, canvases, fits)

    DarknetDetector.preprocess = deadly


class Arming:
    todo = {"jobs.stages.decode": arm_decoder, "jobs.stages.infer": arm_network}

    def find_spec(self, name, path=None, target=None):
        arm = self.todo.pop(name, None)
        if arm:
            arm()


sys.meta_path.insert(0, Arming())
"""


def white() -> bytes:
    """A square, so that there is no gray border on the canvas."""
    return encode(Image.fromarray(np.full((80, 80, 3), 255, np.uint8)), "PNG")


# What each does -> file, content, and the status and code that its row must have.
POISONS = {
    "crashes": {
        "good-0012.jpg": (good_image(1) + b"kills the decoder", "decode", "crashed"),
        "good-0031.png": (white(), "infer", "crashed"),
    },
    "exceeds its bounds": {
        "good-0006.jpg": (good_image(2) + b"hangs the decoder", "decode", "too_slow"),
        "good-0018.jpg": (good_image(3) + b"feeds the decoder", "decode", "too_much_memory"),
    },
}


@pytest.mark.parametrize("kind", POISONS)
def test_a_poisonous_input_costs_its_own_row_alone(kind: str, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    images, poisons = tmp_path / "in", POISONS[kind]
    images.mkdir()
    for index in range(NUM_IMAGES):
        name, image_format = good_name(index)
        (images / name).write_bytes(good_image(index, image_format))
    for name, (body, _, _) in poisons.items():
        (images / name).write_bytes(body)
    spec = {
        "source": {"uri": str(images)},
        "model": toy_model(tmp_path / "toy"),
        "resources": {"batch_size": 2},
        "limits": {"max_seconds_per_input": 3, "max_memory_per_input": 400 * MB},
        "sink": {"uri": str(tmp_path / "out")},
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    arguments = ["run", str(tmp_path / "spec.json"), "--json"]
    done = veedor(*arguments, environment={"PYTHONPATH": f"{tmp_path / 'site'}:{PROJECT}"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    rows = {Path(row["uri"]).name: row for row in read_local_rows(tmp_path / "out").to_pylist()}
    assert len(rows) == NUM_IMAGES
    guilty = {name: (row["status"], row["error_code"]) for name, row in rows.items() if row["status"] != "ok"}
    assert guilty == {name: (status, code) for name, (_, status, code) in poisons.items()}
    assert sum(last_event(done.stdout)["failures"].values()) == len(poisons)


PROJECT = Path(__file__).parents[2]
