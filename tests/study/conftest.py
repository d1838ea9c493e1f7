"""Tiny models and images."""

import numpy as np
import pytest
import torch
from PIL import Image

from ..evaluation.small_checkpoint import tiny_checkpoint, write_classes


@pytest.fixture(scope="session")
def shades(tmp_path_factory) -> str:
    """Two classes of 8 × 8 images, dark and light, which a tiny model learns in a second."""
    folder, random = tmp_path_factory.mktemp("shades"), np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 150)):
        (folder / label).mkdir()
        for index in range(16):
            values = random.integers(low, low + 100, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(values).save(folder / label / f"{index}.png")
    return str(folder)


@pytest.fixture
def checkpoint():
    """A classifier with large random weights, so that its predictions differ."""
    found = tiny_checkpoint()
    with torch.no_grad():
        for parameter in found.model.parameters():
            parameter.normal_(std=0.4)
    return found


@pytest.fixture
def source(tmp_path):
    """A folder with four images of each of its classes."""
    return str(write_classes(tmp_path / "images", each=4))
