"""MOT text: read back as written, and errors that name the line."""

from __future__ import annotations

import numpy as np
import pytest

from cvcore.track.mot_text import MotRows, read_mot, write_mot
from tests.data import shared_data


def test_what_is_written_is_read() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 1000, (50, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 99, (50, 2))], axis=1)
    rows = MotRows(np.arange(1, 51), rng.integers(-1, 9, 50), boxes, rng.random(50), rng.integers(-1, 5, 50))
    again = read_mot(write_mot(rows))
    for name in ("frames", "ids", "scores", "label_ids"):
        assert np.array_equal(getattr(again, name), getattr(rows, name)), name
    np.testing.assert_allclose(again.boxes, boxes, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("line", "scores", "labels"),
    [
        ("1,-1,10,20,30,40", 1.0, -1),
        ("1,-1,10,20,30,40,0.5", 0.5, -1),
        ("1 -1 10 20 30 40 0.5 3", 0.5, 3),
        ("1, -1, 10, 20, 30, 40, 0.5, 3, 0.25, 9, 9", 0.5, 3),
    ],
)
def test_columns_may_be_few_or_many(line: str, scores: float, labels: int) -> None:
    rows = read_mot(f"\n{line}\n\n")
    assert rows.boxes.tolist() == [[10, 20, 40, 60]]
    assert (rows.scores.tolist(), rows.label_ids.tolist()) == ([scores], [labels])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,0,0,5,5\n1,1,0,0", "line 2: .* 4 columns"),
        ("1,1,0,zero,5,5", "line 1: .* numbers"),
        ("0,1,0,0,5,5", "line 1: frames are whole and count from 1"),
        ("1,1,0,0,-5,5", "line 1: width"),
        ("1,1,0,0,nan,5", "line 1: .* NaN"),
    ],
)
def test_bad_lines_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_mot(text)


def test_no_text_is_no_rows() -> None:
    rows = read_mot("")
    assert len(rows) == 0
    assert write_mot(rows) == ""


def test_the_challenge_s_own_files_are_read() -> None:
    files = sorted(shared_data("track", "mot15").glob("*/det/det.txt"))
    assert len(files) == 11
    for file in files:
        rows = read_mot(file.read_text())
        assert len(rows) == len(file.read_text().split())
        assert rows.frames.min() >= 1
        assert (rows.boxes[:, 2:] > rows.boxes[:, :2]).all()
