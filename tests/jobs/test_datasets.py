"""Datasets in folders and buckets: published ones, descriptions of them, conversion there and back."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCDetection

from cvcore.datasets.coco import coco_document
from cvcore.errors import SpecError
from cvcore.metrics.detection import evaluate_detections
from jobs.dataset_check import check_dataset
from jobs.dataset_convert import convert_dataset, write_sheet
from jobs.datasets import open_dataset
from jobs.storage import Access, AccessRefused
from tests.data import shared_data
from tests.datasets import LABELS, assert_same, converted, picture, random_dataset, write_folder
from tests.s3_files import client, new_bucket, upload
from tests.s3_servers import S3Server

COUNTS = {"train": 205, "val": 87, "test": 72}


def test_blood_cells_are_counted_as_by_an_xml_parser() -> None:
    folder = shared_data("detect", "bccd")
    source = open_dataset(str(folder))
    assert (source.format, source.splits, source.has_splits) == ("voc", ("train", "val", "test"), True)
    found = check_dataset(source)
    assert {name: count.num_images for name, count in found.splits.items()} == COUNTS
    assert found.problems.found == ()
    assert len(source.read().images) == 364
    assert len(source.read("trainval").images) == 292
    by_stem = {Path(image.name).stem: image for image in source.read().images}
    for path in (folder / "Annotations").iterdir():
        objects = parse(path).findall("object")
        names = [each.findtext("name") for each in objects]
        image = by_stem[path.stem]
        assert [found.labels[k] for k in image.label_ids] == names
        for each, box in zip(objects, image.boxes.tolist(), strict=True):
            corners = [int(each.findtext(f"bndbox/{tag}") or 0) for tag in ("xmin", "ymin", "xmax", "ymax")]
            assert box == [corners[0] - 1, corners[1] - 1, corners[2], corners[3]]


def test_blood_cells_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    folder = shared_data("detect", "bccd")
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2012").symlink_to(folder)
    for split, number in {"train": 205, "val": 87, "trainval": 292}.items():
        shown = VOCDetection(tmp_path, year="2012", image_set=split)
        mine = open_dataset(str(folder)).read(split)
        assert len(shown) == len(mine.images) == number
        counts = [len(shown.parse_voc_xml(parse(path).getroot())["annotation"]["object"])
                  for path in shown.annotations]  # fmt: skip
        assert counts == [len(image.boxes) for image in mine.images]


def test_blood_cells_go_through_yolo_and_back(tmp_path: Path) -> None:
    folder = shared_data("detect", "bccd")
    first = open_dataset(str(folder))
    access = Access()
    convert_dataset(first, str(tmp_path / "yolo"), to="yolo", access=access)
    yolo = open_dataset(str(tmp_path / "yolo"))
    convert_dataset(yolo, str(tmp_path / "voc"), to="voc", access=access, link=True)
    back = open_dataset(str(tmp_path / "voc"))
    for split, number in COUNTS.items():
        assert len(back.read(split, strict=True).images) == number
        for source in (yolo, back):
            assert_same(source.read(split), first.read(split), atol=1e-3, facts=False)
    name = back.read("val").images[0].name
    assert back.read_image(name) == (folder / name).read_bytes()


def test_blood_cells_come_back_from_coco_unchanged(tmp_path: Path) -> None:
    first = open_dataset(str(shared_data("detect", "bccd")))
    done = convert_dataset(first, str(tmp_path / "coco"), to="coco", access=Access(), split="val", link=False)
    assert (done.num_images, done.losses) == (87, {})
    again = open_dataset(str(tmp_path / "coco"))
    convert_dataset(again, str(tmp_path / "voc"), to="voc", access=Access())
    found = open_dataset(str(tmp_path / "voc")).read().images
    expected = {Path(image.name).name: image for image in first.read("val").images}
    for image in found:
        other = expected[Path(image.name).name]
        np.testing.assert_array_equal(image.boxes, other.boxes)
        assert [f.get("truncated") for f in image.attributes] == [
            f.get("truncated") for f in other.attributes
        ]
        assert image.details["voc"] == other.details["voc"]


def test_a_dataset_in_a_bucket(s3_environment: S3Server, tmp_path: Path) -> None:
    dataset, bodies = random_dataset(3)
    content, _ = converted(dataset, bodies, "voc")
    lists = {"small.txt": b"JPEGImages/im 0.png\n"}
    bucket = new_bucket(s3_environment)
    upload(s3_environment, bucket, {f"in/{name}": body for name, body in {**content, **lists}.items()})
    source = open_dataset(f"s3://{bucket}/in/")
    assert_same(source.read(look="pixels"), dataset, atol=1e-8)
    (one,) = source.read("small.txt").images
    assert one.name == "JPEGImages/im 0.png"
    parts = [source.read(split).images for split in source.splits]
    assert sum(map(len, parts)) == len(dataset.images)
    done = convert_dataset(source, f"s3://{bucket}/out", to="coco", access=Access())
    assert done.num_boxes == dataset.num_boxes
    assert_same(open_dataset(f"s3://{bucket}/out").read(), dataset, atol=1e-8)
    convert_dataset(source, str(tmp_path / "yolo"), to="yolo", access=Access())
    local = open_dataset(str(tmp_path / "yolo")).read()
    assert len(local.images) == len(dataset.images)
    write_sheet(source, f"s3://{bucket}/sheet.png", access=Access(), num=3)
    assert client(s3_environment).get_object(Bucket=bucket, Key="sheet.png")["ContentLength"] > 1000
    with pytest.raises(SpecError, match="no links"):
        convert_dataset(source, str(tmp_path / "other"), to="coco", access=Access(), link=True)
    with pytest.raises(SpecError, match="is not empty"):
        convert_dataset(source, f"s3://{bucket}/out", to="coco", access=Access())
    with pytest.raises(SpecError, match="it has no files"):
        open_dataset(f"s3://{bucket}/nothing")


def test_a_description_in_a_bucket(s3_environment: S3Server) -> None:
    dataset, bodies = random_dataset(5, rich=False)
    content, _ = converted(dataset, bodies, "yolo")
    bucket = new_bucket(s3_environment)
    described = f"path: s3://{bucket}/data\nval: images\nnames: [a, b, c, d]\n".encode()
    upload(s3_environment, bucket, {f"data/{name}": body for name, body in content.items()})
    upload(s3_environment, bucket, {"mine.yaml": described})
    found = open_dataset(f"s3://{bucket}/mine.yaml")
    assert found.splits == ("val",)
    assert found.read("val").labels == ("a", "b", "c", "d")
    assert found.read("val").num_boxes == dataset.num_boxes


def yolo_folder(folder: Path) -> Path:
    dataset, bodies = random_dataset(1, rich=False, num=12)
    return write_folder(folder, converted(dataset, bodies, "yolo")[0])


def test_splits_that_are_drawn_are_whole_and_apart(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path)
    (folder / "data.yaml").write_text(json.dumps({"names": list(LABELS)}))
    source = open_dataset(str(folder), seed=2, shares={"train": 0.5, "val": 0.5})
    assert (source.splits, source.has_splits) == (("train", "val"), False)
    train, val = ({image.name for image in source.read(split).images} for split in source.splits)
    assert not train & val
    assert train | val == {image.name for image in source.read().images}
    (folder / "lists").mkdir()
    (folder / "lists" / "few.txt").write_text(f"{min(train)}\nimages/none.png\n")
    source = open_dataset(str(folder))
    found = source.inspect("lists/few.txt")
    assert [image.name for image in found.dataset.images] == [min(train)]
    assert found.problems.count("image_missing") == 1
    with pytest.raises(SpecError, match="1 images that are not there"):
        source.read("lists/few.txt", strict=True)
    with pytest.raises(SpecError, match=r"no split 'trian'.*Splits: train, val, test"):
        source.read("trian")


def test_a_description_found_in_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path / "data")
    for path in ("/etc", "../other", str(folder)):
        (folder / "data.yaml").write_text(json.dumps({"path": path, "val": "images", "names": list(LABELS)}))
        assert open_dataset(str(folder)).location == str(folder)
    (folder / "data.yaml").unlink()
    write_folder(tmp_path, {"set.yaml": json.dumps({"path": "data", "names": list(LABELS)}).encode()})
    assert open_dataset(str(tmp_path / "set.yaml")).location == str(folder)
    outer = {"path": "data", "val": "images", "names": list(LABELS)}
    write_folder(tmp_path, {"data.yaml": json.dumps(outer).encode()})
    assert open_dataset(str(tmp_path)).location == str(folder)


def test_links_that_lead_out_are_no_images_of_the_dataset(tmp_path: Path) -> None:
    write_folder(tmp_path, {"secret.png": picture(9, 9)})
    folder = write_folder(tmp_path / "data", {"cat/a.png": picture(9, 9)})
    (folder / "cat" / "b.png").symlink_to(tmp_path / "secret.png")
    source = open_dataset(str(folder))
    assert [image.name for image in source.read().images] == ["cat/a.png"]
    with pytest.raises(AccessRefused):
        source.read_image("cat/b.png")
    with pytest.raises(SpecError, match="no name inside"):
        source.read_image("../secret.png")


def test_images_in_two_splits_are_said(tmp_path: Path) -> None:
    dataset, bodies = random_dataset(2, num=3)
    content, _ = converted(dataset, bodies, "voc")
    lists = {f"ImageSets/Main/{split}.txt": b"im 0\nim 2\n" for split in ("train", "val")}
    found = check_dataset(open_dataset(str(write_folder(tmp_path, {**content, **lists}))))
    assert found.problems.count("image_in_two_splits") == 2


def test_folders_cannot_become_boxes(tmp_path: Path) -> None:
    source = open_dataset(str(write_folder(tmp_path / "in", {"cat/a.png": picture(9, 9)})))
    with pytest.raises(SpecError, match="no boxes"):
        convert_dataset(source, str(tmp_path / "out"), to="coco", access=Access())
    with pytest.raises(SpecError, match="Did you mean 'yolo'"):
        convert_dataset(source, str(tmp_path / "out"), to="yolo8", access=Access())
    assert not (tmp_path / "out").exists()


def test_links_share_the_file(tmp_path: Path) -> None:
    folder = yolo_folder(tmp_path / "in")
    source = open_dataset(str(folder))
    convert_dataset(source, str(tmp_path / "out"), to="coco", access=Access(), link=True)
    name = source.read().images[0].name
    linked = [path for path in (tmp_path / "out").rglob("*.png") if path.samefile(folder / name)]
    assert len(linked) == 1


def test_the_document_of_a_split_measures_like_the_dataset(tmp_path: Path) -> None:
    source = open_dataset(str(yolo_folder(tmp_path)))
    document = coco_document(source.read("train"))
    found = [{**a, "score": 1.0} for a in document["annotations"]]
    assert evaluate_detections(document, found).ap == pytest.approx(1.0)


def test_a_sheet_is_a_picture_of_as_many_cells(tmp_path: Path) -> None:
    source = open_dataset(str(yolo_folder(tmp_path / "in")))
    assert write_sheet(source, str(tmp_path / "sheet.png"), access=Access(), num=5) == 5
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * 324 + 4, 2 * 324 + 4)
    with pytest.raises(SpecError, match="must end with"):
        write_sheet(source, str(tmp_path / "sheet.gif"), access=Access())
