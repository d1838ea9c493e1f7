"""Open fields of a recipe, chosen from the data, the time and the machine."""

from dataclasses import replace

import pytest

from vitrail.training.choose import Situation, smaller_batch
from vitrail.training.recipe import Recipe

PHOTOGRAPHS = Situation(train=3000, side=200, channels=3, gpu=False)


@pytest.mark.parametrize(("minutes", "batch"), [(0.5, 16), (3, 16), (10, 32), (30, 64), (600, 64)])
def test_little_time_has_small_batches(minutes: float, batch: int) -> None:
    # 2.4 GFLOPs an image: 20 GFLOP/s do 500 images a minute.
    recipe = Recipe(minutes=minutes, batch_size=64)
    assert smaller_batch(recipe, PHOTOGRAPHS, 2_400_000_000).batch_size == batch


def test_a_batch_that_is_small_already_stays_and_a_gpu_has_time() -> None:
    recipe = Recipe(minutes=1, batch_size=4)
    assert smaller_batch(recipe, PHOTOGRAPHS, 2_400_000_000) == recipe
    fast = replace(PHOTOGRAPHS, gpu=True)
    assert smaller_batch(Recipe(minutes=1, batch_size=128), fast, 2_400_000_000).batch_size == 128
