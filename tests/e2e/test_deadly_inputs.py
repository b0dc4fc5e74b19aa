"""An input that kills its worker, at decoding or at inference, costs one row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.corpus import encode, good_image, good_name, toy_model
from tests.runs import last_event, read_local_rows, veedor

NUM_IMAGES = 40

# Found by every Python process of the run: a decoder with a fatal bug, and a network with another.
SITE = """
import ctypes, os, signal, sys


def arm_decoder():
    import cvcore.image.decode as decode

    sound = decode.decode_to_canvas

    def deadly(data, *arguments, **options):
        if b"kills the decoder" in data:
            ctypes.string_at(0)  # a true fault: a signal sent would let this thread go on for a while
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


def test_a_deadly_input_costs_its_own_row_alone(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    images = tmp_path / "in"
    images.mkdir()
    for index in range(NUM_IMAGES):
        name, image_format = good_name(index)
        (images / name).write_bytes(good_image(index, image_format))
    (images / "good-0011.jpg").write_bytes(good_image(1) + b"kills the decoder")
    white = Image.fromarray(np.full((80, 80, 3), 255, np.uint8))  # square: no gray border on the canvas
    (images / "good-0030.png").write_bytes(encode(white, "PNG"))
    model = toy_model(tmp_path)
    done = veedor(
        "annotate", str(images), "--out", str(tmp_path / "out"), "--model", model["name"], "--weights",
        model["weights"], "--labels", model["labels"], "--batch-size", "2", "--json",
        environment={"PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert last_event(done.stdout)["failures"] == {"crashed": 2}
    rows = {Path(row["uri"]).name: row for row in read_local_rows(tmp_path / "out").to_pylist()}
    assert len(rows) == len(list(images.iterdir()))
    assert rows["good-0011.jpg"]["status"] == "decode"
    assert rows["good-0030.png"]["status"] == "infer"
    assert rows["good-0030.png"]["error_code"] == "crashed"
    assert {row["status"] for name, row in rows.items() if name not in DEADLY} == {"ok"}


DEADLY = {"good-0011.jpg", "good-0030.png"}
