"""A segmenter's replica, in this process: canvases, or images by tiles, to rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from cvcore.datasets.mask_files import read_mask
from cvcore.image.fit import plan_fit
from cvcore.image.limits import DecodeLimits
from cvcore.segment.tiles import TileOptions
from cvcore.segment.tiling import segment_tiled
from cvcore.segment.unet import UNet, build_unet
from jobs.schemas import segment_schema
from jobs.stages.decode import decode_inputs
from jobs.stages.guard import InputBounds
from jobs.stages.rows import NON_FINITE
from jobs.stages.segment_head import SegmentHead
from jobs.stages.tasks import SegmentTask
from jobs.storage import Access, open_store

LABELS = ("ground", "thing", "other")


@pytest.fixture(scope="module")
def model() -> UNet:
    torch.manual_seed(3)
    return build_unet(LABELS, width=4, depth=1, padded=True, input_size=32).eval()


def unit(folder: Path, *, sizes_alone: bool = False) -> pa.Table:
    """Two images of noise, and a file that is none, decoded."""
    rng, inputs, store = np.random.default_rng(0), [], open_store("/")
    for name, size in (("a.png", (40, 24)), ("b.png", (90, 70)), ("c.png", None)):
        path = folder / name
        if size is None:
            path.write_bytes(b"no image")
        else:
            Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        inputs.append({"uri": str(path), "etag": store.stat(str(path)).etag, "size": path.stat().st_size})
    spec = build_unet(width=1, input_size=32).input_spec
    return decode_inputs(inputs, store, spec, DecodeLimits(), unit=1, sizes_alone=sizes_alone)


def make_head(model: UNet, *, tile: int | None = None) -> SegmentHead:
    bounds = InputBounds(max_seconds=60, max_memory=2**30)
    return SegmentHead(model, SegmentTask(tile, 12, DecodeLimits(), bounds, Access()))


def infer(head: SegmentHead, batch: pa.Table) -> pa.Table:
    rows = [k for k in range(batch.num_rows) if batch.column("canvas")[k].is_valid]
    canvases = np.stack(
        [np.frombuffer(batch.column("canvas")[k].as_py(), np.uint8).reshape(32, 32, 3) for k in rows]
    )
    sizes = [(batch.column("height")[k].as_py(), batch.column("width")[k].as_py()) for k in rows]
    fits = [plan_fit(*size, head.input_spec) for size in sizes]
    with torch.inference_mode():
        found = head.finish(head.compute(torch.from_numpy(canvases), fits), fits)
    return head.table(batch, dict(zip(rows, found, strict=True)))


@pytest.mark.parametrize("tile", [None, 32], ids=["whole", "tiles"])
def test_rows_hold_maps_of_the_images_size_and_their_areas(
    tile: int | None, model: UNet, tmp_path: Path
) -> None:
    table = infer(make_head(model, tile=tile), unit(tmp_path))
    assert table.schema.remove(0).equals(segment_schema())
    rows = table.to_pylist()
    assert [row["status"] for row in rows] == ["ok", "ok", "decode"]
    assert rows[2]["map"] is None
    assert rows[2]["classes"] is None
    for row, size in zip(rows[:2], [(24, 40), (70, 90)], strict=True):
        ids = read_mask(row["map"], name="it")
        assert ids.shape == size
        counted = {each["label_id"]: each["pixels"] for each in row["classes"]}
        assert counted == {int(k): int(n) for k, n in zip(*np.unique(ids, return_counts=True), strict=True)}
        assert all(LABELS[each["label_id"]] == each["label"] for each in row["classes"])


@pytest.mark.parametrize("sizes_alone", [False, True])
def test_tiles_are_of_the_image_itself(sizes_alone: bool, model: UNet, tmp_path: Path) -> None:
    row = infer(make_head(model, tile=32), unit(tmp_path, sizes_alone=sizes_alone)).to_pylist()[1]
    assert (row["height"], row["width"]) == (70, 90)
    with Image.open(tmp_path / "b.png") as image:
        expected = segment_tiled(model, np.asarray(image), TileOptions(32, 12))
    np.testing.assert_array_equal(read_mask(row["map"], name="it"), expected)


def test_an_image_that_changed_since_costs_its_row(model: UNet, tmp_path: Path) -> None:
    batch = unit(tmp_path)
    Image.new("RGB", (40, 25)).save(tmp_path / "a.png")
    rows = infer(make_head(model, tile=32), batch).to_pylist()
    assert [row["status"] for row in rows] == ["infer", "ok", "decode"]
    assert rows[0]["map"] is None


def test_pixels_that_are_cut_short_are_a_failure_of_decoding(model: UNet, tmp_path: Path) -> None:
    batch, path = unit(tmp_path, sizes_alone=True), tmp_path / "b.png"
    path.write_bytes(path.read_bytes()[:9000])
    uris, etags = batch.column("uri").to_pylist(), batch.column("etag").to_pylist()
    etags[uris.index(str(path))] = open_store("/").stat(str(path)).etag
    batch = batch.set_column(batch.column_names.index("etag"), "etag", pa.array(etags))
    rows = infer(make_head(model, tile=32), batch).to_pylist()
    assert [(row["status"], row["error_code"]) for row in rows[:2]] == [("ok", None), ("decode", "truncated")]


def test_logits_that_are_no_numbers_give_no_map(model: UNet) -> None:
    head = make_head(model)
    logits = torch.zeros(2, 3, 32, 32)
    logits[1, 0, 5, 5] = float("nan")
    found = head.finish(logits, [plan_fit(32, 32, model.input_spec)] * 2)
    assert found[1] is NON_FINITE
    assert found[0].pixels == (32 * 32, 0, 0)
