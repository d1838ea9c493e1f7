"""Every variant can be planned, whatever its task."""

from typing import Any

import pytest

from tests.models.test_families import SMALLEST
from vitrail.models.registry import list_models, model_config
from vitrail.planning.cost import plan
from vitrail.planning.plan_table import plan_rows

SLOW = {"detr_resnet50", "universal_vit_tiny_patch16_224", "dpt_base_384", "segformer_b0", "siglip_base_patch16_224"}


def rows() -> list[Any]:
    """The smallest of every family; slow ones, and classifiers, of which other tests plan several, are exhaustive."""
    others = {name for name in SMALLEST if model_config(name, **SMALLEST[name]).task.name != "classification"}
    return [name if name in others - SLOW else pytest.param(name, marks=pytest.mark.exhaustive) for name in SMALLEST]


@pytest.mark.parametrize("name", rows())
def test_the_smallest_of_every_family(name: str) -> None:
    found = plan(model_config(name, **SMALLEST[name]), batch_size=2)
    assert 0 < found.weights < found.inference_bytes < found.training_bytes
    assert found.flops > 0
    assert plan_rows(found)[1] == ["classes", f"{found.num_classes:,}" if found.num_classes else "none"]


@pytest.mark.exhaustive
def test_every_row_has_a_cost_and_inputs() -> None:
    # A whole plan of a large row takes up to a minute; what differs between rows of one family is only its size.
    for name in list_models():
        config = model_config(name)
        pixels = config.example_inputs(2, device="meta")[0]
        assert pixels.shape[:2] == (2, config.in_channels), name
        assert config.densest().num_outputs == config.num_outputs, name
