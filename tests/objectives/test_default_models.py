"""Models on which objectives without labels are trained if the user names none."""

import pytest
import torch

from vitrail.checkpoint.build import blueprint
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config, override
from vitrail.objectives.registry import objective_config, objective_names
from vitrail.planning.objective_step import root_module
from vitrail.planning.trace import backward_peak
from vitrail.training.choose import Situation, choose
from vitrail.training.recipe import Recipe

WITHOUT_LABELS = [name for name in objective_names() if not objective_config(name).tasks]


@pytest.mark.parametrize(
    "side", [32, *(pytest.param(side, marks=pytest.mark.exhaustive) for side in (8, 16, 28, 64, 200))]
)
@pytest.mark.parametrize("name", WITHOUT_LABELS)
def test_an_objective_can_train_its_default_model(name: str, side: int) -> None:
    objective = objective_config(name)()
    situation = Situation(train=1000, side=side, channels=3, gpu=False)
    recipe = choose(Recipe(objective=objective), situation)
    model, overrides, size = objective.default_model(side) or (str(recipe.model), {}, recipe.image_size)
    config = objective.model_config(override(model_config(model), {**overrides, "image_size": size}, model))
    # A step without values: forward and backward pass of all modules.
    assert backward_peak(config, 2, torch.float32, torch.device("cpu"), checkpointing=False, objective=objective) > 0


@pytest.mark.parametrize("name", ["inpaint", "simmim", "beit"])
def test_cells_that_do_not_tile_the_image_are_an_error(name: str) -> None:
    objective = objective_config(name)()
    config = objective.model_config(model_config("whitened_small_32", image_size=30))
    with pytest.raises(VitrailError, match="7×7 cells do not tile an image of 30×30"):
        root_module(objective, blueprint(config))
