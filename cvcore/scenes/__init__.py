"""Photo-like sample scenes of machine parts on a conveyor, with exact boxes, masks and classes."""

from __future__ import annotations

from cvcore.scenes.coco import coco_categories, scene_annotations, write_scenes
from cvcore.scenes.parts import PART_NAMES
from cvcore.scenes.placement import SceneSpec
from cvcore.scenes.scene import Scene, render_scene

__all__ = [
    "PART_NAMES",
    "Scene",
    "SceneSpec",
    "coco_categories",
    "render_scene",
    "scene_annotations",
    "write_scenes",
]
