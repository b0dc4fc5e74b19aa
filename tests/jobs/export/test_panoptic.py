"""COCO panoptic of a segmenter's run, decoded by COCO's own formula and by datumaro."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from cvcore.datasets.mask_files import encode_mask
from cvcore.datasets.panoptic import segments_of
from cvcore.errors import SpecError
from jobs.export.export import export_run
from jobs.export.options import Options
from jobs.export.outcome import Exported
from jobs.export.rows import Choice
from jobs.masks import open_masks
from jobs.schemas import segment_schema
from jobs.sink import encode_part, part_metadata
from jobs.storage import Access
from tests.exchange import LABELS, job_record, make_rows, write_run
from tests.references import reference

Maps = dict[str, np.ndarray]
SIZES = ((40, 30), (31, 57), (64, 64))


def write_maps(folder: Path, maps: Maps) -> Path:
    """A run of a segmenter with these maps, and one image that failed."""
    run = folder / "run"
    (run / "_veedor").mkdir(parents=True)
    (run / "data").mkdir()
    record = job_record(folder, num_inputs=len(maps) + 1)
    (run / "_veedor" / "job.json").write_text(json.dumps(asdict(record)))
    rows: list[dict[str, Any]] = [
        {
            "uri": str(folder / "images" / name),
            "etag": "e",
            "width": classes.shape[1],
            "height": classes.shape[0],
            "status": "ok",
            "classes": [],
            "map": encode_mask(classes),
        }
        for name, classes in maps.items()
    ]
    rows.append({"uri": str(folder / "images" / "z.jpg"), "etag": "e", "status": "decode", "error": "ends"})
    body = encode_part(pa.Table.from_pylist(rows, schema=segment_schema()), part_metadata(record))
    (run / "data" / "part-00000.parquet").write_bytes(body)
    (run / "_SUCCESS.json").write_text(json.dumps({"counts": {"inputs": len(rows)}}))
    return run


@pytest.fixture
def maps() -> Maps:
    """Blobs of classes; the second has one class alone, the third pixels of no class."""
    rng = np.random.default_rng(0)
    found = {
        f"{'ab'[k % 2]}/{k}.jpg": np.kron(
            rng.integers(0, len(LABELS), (-(-height // 8), -(-width // 8))), np.ones((8, 8))
        )[:height, :width].astype(np.uint8)
        for k, (height, width) in enumerate(SIZES)
    }
    found["b/1.jpg"][:] = 2
    found["a/2.jpg"][3:20, 5:30] = 255
    return found


def export(run: Path, **options: Any) -> Exported:
    return export_run(
        str(run), to="coco-panoptic", out=str(run.parent / "out"), access=Access(), options=Options(**options)
    )


def test_pixels_and_segments_give_the_maps_back(tmp_path: Path, maps: Maps) -> None:
    done = export(write_maps(tmp_path, maps))
    document = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert (done.looked_at, done.failed, done.not_looked_at) == (3, 1, 0)
    assert done.detections == sum(len(each["segments_info"]) for each in document["annotations"])
    assert [(each["id"], each["name"], each["isthing"]) for each in document["categories"]] == [
        (k + 1, label, 0) for k, label in enumerate(LABELS)
    ]
    names = {each["id"]: each["file_name"] for each in document["images"]}
    assert list(names.values()) == list(maps)
    for annotation in document["annotations"]:
        classes = maps[names[annotation["image_id"]]]
        with Image.open(tmp_path / "out" / "panoptic" / annotation["file_name"]) as image:
            assert image.mode == "RGB"
            pixels = np.array(image).astype(np.int64)
        ids = pixels[..., 0] + 256 * pixels[..., 1] + 256**2 * pixels[..., 2]  # panopticapi's rgb2id
        expected = np.full(classes.shape, 255)
        for segment in annotation["segments_info"]:
            at = ids == segment["id"]
            expected[at] = segment["category_id"] - 1
            x, y, width, height = segment["bbox"]
            assert segment["area"] == at.sum() == at[y : y + height, x : x + width].sum()
            for side in (at[y], at[y + height - 1], at[:, x], at[:, x + width - 1]):
                assert side.any()
            assert segment["iscrowd"] == 0
        assert not (ids[classes == 255]).any()
        np.testing.assert_array_equal(expected, classes)
    assert "z.jpg" in (tmp_path / "out" / "failures.csv").read_text()


def test_datumaro_reads_it(tmp_path: Path, maps: Maps) -> None:
    datumaro = reference("datumaro")
    export(write_maps(tmp_path, maps))
    for name, classes in maps.items():
        image = tmp_path / "set" / "images" / "default" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", classes.shape[::-1]).save(image)
    annotations = tmp_path / "set" / "annotations"
    annotations.mkdir()
    (tmp_path / "out" / "panoptic.json").rename(annotations / "panoptic_default.json")
    (tmp_path / "out" / "panoptic").rename(annotations / "panoptic_default")
    dataset = datumaro.Dataset.import_from(str(tmp_path / "set"), "coco_panoptic")
    labels = [each.name for each in dataset.categories()[datumaro.AnnotationType.label]]
    found = {}
    for item in dataset:
        classes = np.full(maps[f"{item.id}.jpg"].shape, 255, np.uint8)
        for each in item.annotations:
            classes[np.asarray(each.image, bool)] = LABELS.index(labels[each.label])
        found[f"{item.id}.jpg"] = classes
    assert set(found) == set(maps)
    for name, classes in maps.items():
        np.testing.assert_array_equal(found[name], classes)


def test_with_its_images_it_is_a_dataset_to_learn_from(tmp_path: Path, maps: Maps) -> None:
    export(write_maps(tmp_path, maps))
    for name, classes in maps.items():
        image = tmp_path / "out" / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", classes.shape[::-1]).save(image)
    source = open_masks(str(tmp_path / "out"))
    dataset = source.read()
    loader = source.loader(dataset)
    assert dataset.labels == LABELS
    assert [record.name for record in dataset.images] == [f"images/{name}" for name in maps]
    for record, classes in zip(dataset.images, maps.values(), strict=True):
        height, width = classes.shape
        np.testing.assert_array_equal(loader.load(record, height=height, width=width), classes)


def test_a_map_without_any_class_has_no_segments() -> None:
    assert segments_of(np.full((4, 5), 255, np.uint8), num_classes=3) == []


def test_a_limit(tmp_path: Path, maps: Maps) -> None:
    assert export(write_maps(tmp_path, maps), limit=2).looked_at == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param({"choice": Choice(("car",))}, "has no place in it", id="a label"),
        pytest.param({"order": "random", "limit": 2}, "has no place in it", id="an order"),
        pytest.param({"limit": 0}, "at least 1", id="no images"),
    ],
)
def test_options_of_detections(options: dict[str, Any], words: str, tmp_path: Path, maps: Maps) -> None:
    run = write_maps(tmp_path, maps)
    with pytest.raises(SpecError, match=words):
        export(run, **options)
    assert not (tmp_path / "out").exists()


def test_runs_of_the_other_kind(tmp_path: Path, maps: Maps) -> None:
    with pytest.raises(SpecError, match=r"no maps of classes.*export its detections"):
        export(write_run(tmp_path / "boxes", make_rows(tmp_path)))
    run = write_maps(tmp_path / "maps", maps)
    with pytest.raises(SpecError, match="--format coco-panoptic"):
        export_run(str(run), to="coco", out=str(tmp_path / "other"), access=Access())
