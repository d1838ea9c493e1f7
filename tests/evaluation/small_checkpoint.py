"""A tiny model and tiny pictures that the tests of this room share."""

from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.checkpoint.contract import Checkpoint
from vitrail.data.preprocess import Preprocess
from vitrail.models.registry import create_model
from vitrail.task_spec import CLASSIFICATION, MULTI_LABEL

CLASSES = ("cat", "dog", "fox")


def tiny_checkpoint(task: str = "single") -> Checkpoint:
    """A fresh model of 8×8 pictures with three classes."""
    spec = MULTI_LABEL if task == "multi" else CLASSIFICATION
    sizes = {"image_size": 8, "patch_size": 4, "embed_dim": 16, "num_heads": 2, "depth": 2}
    model = create_model("vit_tiny_patch16_224", num_classes=len(CLASSES), task=spec, **sizes).eval()
    preprocess = Preprocess(image_size=(8, 8), crop=1.0)
    return Checkpoint(model, CLASSES, preprocess, {"architecture": "custom"})


def write_picture(path: Path, seed: int) -> Path:
    """A picture of noise, 12×10, with a content of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def write_classes(root: Path, classes: tuple[str, ...] = CLASSES, each: int = 3) -> Path:
    """A folder with a folder for each class."""
    for row, name in enumerate(classes):
        for index in range(each):
            write_picture(root / name / f"{index}.png", seed=100 * row + index)
    return root
