"""Where the bytes and the maps of scenes come from: they are drawn when they are read."""

from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from ..decode import BadImage
from ..samples import Split
from .clips import clip
from .scene import SceneSet, picture, scene

DRAWING = 1
"""Version of the drawing, increased if the same options draw something else, so that cached facts are not used."""


@dataclass(frozen=True, slots=True)
class SceneAt:
    """Location of the image of a scene, read as the bytes of a `.npy` file (H, W, 3)."""

    scenes: SceneSet
    split: Split
    index: int

    def read(self) -> bytes:
        return _npy(picture(self.scenes, self.split, self.index))

    def stamp(self) -> str:
        return f"scene {DRAWING}|{self.scenes.drawing}|{self.split}|{self.index}"


@dataclass(frozen=True, slots=True)
class ClipAt:
    """Location of a clip, read as the bytes of a `.npy` file (T, H, W, 3)."""

    scenes: SceneSet
    split: Split
    index: int

    def read(self) -> bytes:
        return _npy(clip(self.scenes, self.split, self.index))

    def stamp(self) -> str:
        return f"clip {DRAWING}|{self.scenes.drawing}|{self.split}|{self.index}"


@dataclass(frozen=True, slots=True)
class SceneMap:
    """A map of a scene, a `MapLabel`: classes (0 is the background), or depths in metres."""

    scenes: SceneSet
    split: Split
    index: int
    kind: Literal["classes", "depth"]

    def read(self) -> Shaped[Tensor, "H W"]:
        try:
            found = scene(self.scenes, self.split, self.index)
        except OSError as error:
            raise BadImage(f"scenes/{self.split}/{self.index}", str(error)) from error
        return torch.from_numpy(found.classes() if self.kind == "classes" else found.depth())


def _npy(array: np.ndarray) -> bytes:
    file = BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
