"""Images that a tiny model learns in a second."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def shades(tmp_path_factory) -> str:
    """Two classes of 8 × 8 images: dark and light."""
    folder, random = tmp_path_factory.mktemp("shades"), np.random.default_rng(0)
    for label, low in (("dark", 0), ("light", 150)):
        (folder / label).mkdir()
        for index in range(16):
            values = random.integers(low, low + 100, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(values).save(folder / label / f"{index}.png")
    return str(folder)
