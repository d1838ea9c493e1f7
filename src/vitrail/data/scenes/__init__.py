"""Scenes with known truth: images, boxes, maps, captions, numbers and clips, drawn by code.

`open_source("scenes", task=...)` is the source of them, `scene_set` has them from Python, and `write_scenes` writes
files, also as `python -m vitrail.data.scenes FORM FOLDER [OPTIONS]`.
"""

from .clips import clip, motion_class, motion_names
from .options import SceneOptions
from .scene import Scene, SceneSet, picture, scene, scene_set
from .truth import boxes, captions, image_class, image_classes, numbers
from .write import write_scenes

__all__ = [
    "Scene",
    "SceneOptions",
    "SceneSet",
    "boxes",
    "captions",
    "clip",
    "image_class",
    "image_classes",
    "motion_class",
    "motion_names",
    "numbers",
    "picture",
    "scene",
    "scene_set",
    "write_scenes",
]
