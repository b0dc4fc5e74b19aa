"""Write rendered scenes as a COCO dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from cvcore.ops.masks import encode_rle
from cvcore.scenes.parts import PART_NAMES
from cvcore.scenes.placement import DEFAULT_SPEC, SceneSpec
from cvcore.scenes.scene import Scene, render_scene


def coco_categories() -> list[dict[str, Any]]:
    """The part classes as COCO categories; ids count from 1 in the order of PART_NAMES."""
    return [{"id": k, "name": name, "supercategory": "part"} for k, name in enumerate(PART_NAMES, start=1)]


def scene_annotations(scene: Scene, *, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """One COCO annotation a part: box xywh in pixels, compressed RLE of the visible mask, its area."""
    annotations = []
    areas = scene.masks.sum(axis=(1, 2)).tolist()
    parts = zip(scene.boxes, scene.label_ids, areas, encode_rle(scene.masks), strict=True)
    for k, (box, label_id, area, rle) in enumerate(parts):
        x1, y1, x2, y2 = box.tolist()
        annotations.append(
            {
                "id": first_id + k,
                "image_id": image_id,
                "category_id": int(label_id) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": area,
                "iscrowd": 0,
                "segmentation": rle,
            }
        )
    return annotations


def write_scenes(
    folder: Path,
    *,
    num_scenes: int,
    seed: int,
    spec: SceneSpec = DEFAULT_SPEC,
) -> None:
    """Render scenes `seed`, `seed + 1`, ... into `folder/images/scene-000000.jpg` ... and `annotations.json`.

    The JSON is COCO's instance format with image and annotation ids from 1. Choose seeds at least
    `num_scenes` apart for datasets that must not share scenes.
    """
    images_folder = folder / "images"
    images_folder.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for k in range(num_scenes):
        scene = render_scene(seed + k, spec)
        name = f"scene-{k:06d}.jpg"
        Image.fromarray(scene.image).save(images_folder / name, quality=scene.jpeg_quality)
        height, width = scene.image.shape[:2]
        images.append({"id": k + 1, "file_name": name, "height": height, "width": width})
        annotations += scene_annotations(scene, image_id=k + 1, first_id=len(annotations) + 1)
    document = {"images": images, "annotations": annotations, "categories": coco_categories()}
    (folder / "annotations.json").write_text(json.dumps(document))
