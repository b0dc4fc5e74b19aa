"""The inspection station: repeatable pictures, and masks that hold all that a defect changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cvcore.scenes.inspection import DEFECTS, InspectionSpec, render_inspection, write_inspections

SMALL = InspectionSpec(size=128)


@pytest.mark.parametrize("defect", [None, *DEFECTS])
def test_a_picture_is_repeatable_and_another_seed_gives_another(defect: str | None) -> None:
    first, again = render_inspection(3, defect, SMALL), render_inspection(3, defect, SMALL)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.image, render_inspection(4, defect, SMALL).image)
    assert first.image.shape == (128, 128, 3)
    assert first.mask.any() == (defect is not None)


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_mask_is_where_the_defect_changed_the_picture(defect: str) -> None:
    for seed in range(5):
        normal, found = render_inspection(seed, None, SMALL), render_inspection(seed, defect, SMALL)
        change = np.abs(found.image.astype(int) - normal.image).max(axis=2)
        near = ndimage.binary_dilation(found.mask, iterations=2)
        inside, outside = change[found.mask], change[~near]
        assert np.median(inside) > 20, "what is marked is changed"
        # Shadows of parts that are gone or new fall beyond them.
        limit = 90 if defect in ("missing", "wrong", "chip") else 12
        assert outside.max() <= limit, "what is not marked is not"
        assert (outside > 20).mean() < 0.06


def test_defects_are_small_and_differ_in_size() -> None:
    areas = {d: np.mean([render_inspection(s, d).mask.mean() for s in range(6)]) for d in DEFECTS}
    assert max(areas["scratch"], areas["chip"], areas["stain"]) < 0.02
    assert min(areas["missing"], areas["wrong"]) > 0.02


def test_a_dataset_has_the_layout_of_mvtec(tmp_path: Path) -> None:
    write_inspections(tmp_path, num_normal=3, num_test=2, seed=11, spec=SMALL)
    assert len(list((tmp_path / "train" / "good").iterdir())) == 3
    kinds = sorted(path.name for path in (tmp_path / "test").iterdir())
    assert kinds == sorted(["good", *DEFECTS])
    pictures = [path.read_bytes() for path in tmp_path.glob("t*/*/*.png")]
    assert len(pictures) == 3 + 2 * 6
    assert len(set(pictures)) == len(pictures), "no picture comes twice"
    for defect in DEFECTS:
        names = sorted(path.name for path in (tmp_path / "test" / defect).iterdir())
        assert names == sorted(path.name for path in (tmp_path / "masks" / defect).iterdir())
        mask = np.asarray(Image.open(tmp_path / "masks" / defect / names[0]))
        assert set(np.unique(mask)) == {0, 255}
    assert not (tmp_path / "masks" / "good").exists()


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="defect must be one of scratch"):
        render_inspection(1, "rust")
    with pytest.raises(ValueError, match="at least 64"):
        InspectionSpec(size=20)
