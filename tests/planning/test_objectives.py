"""Memory of the objectives that are planned, against measured."""

import pytest
import torch

from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.objectives.objective import Moment
from vitrail.objectives.registry import OBJECTIVES, objective_config
from vitrail.planning.cost import plan
from vitrail.planning.objective_step import example_batch, example_labels, example_views

from .test_cost import measured_peak

OPTIONS = {"dino": {"prototypes": 512, "local_crops": 4}, "beit": {"codes": 64}}
NAMES = [name for name in OBJECTIVES if not objective_config(name).tasks]
QUICK = ("mae", "depth", "clip")
"""Measured by `make test`, the others by `make test-all`."""

LABELLED = {
    "segmentation": "compact_segmenter_small_128",
    "depth": "compact_depth_small_128",
    "detection": "compact_detector_small_128",
    "universal": "compact_universal_small_128",
    "clip": "compact_clip_small_64",
    "siglip": "compact_siglip_small_64",
}


def quick_ones(names):
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.exhaustive) for name in names]


def train_twice(objective, config, batch):
    root = objective.build(config.build(), example_labels(objective, config)).train()
    trained = [parameter for parameter in root.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    for _ in range(2):
        root(example_batch(example_views(objective, config), batch), Moment(1, 0.5)).total.backward()
        optimizer.step()
        optimizer.zero_grad()
        root.after_step(Moment(1, 0.5))


@pytest.mark.filterwarnings("ignore")  # the profiler's, about the machine
@pytest.mark.parametrize("name", quick_ones(NAMES))
def test_planned_memory_is_within_5_percent_of_the_measured_peak(name):
    kind = objective_config(name)
    objective = kind(**OPTIONS.get(name, {}))
    name = "videomae_small_patch16_224" if objective.clips else "vit_tiny_patch16_224"
    config = objective.model_config(model_config(name, image_size=64, patch_size=8, depth=2, num_classes=0))
    planned = plan(config, batch_size=8, precision="float32", objective=objective, ema=False).training_bytes
    assert planned == pytest.approx(measured_peak(lambda: train_twice(objective, config, 8)), rel=0.05)


@pytest.mark.filterwarnings("ignore")  # the profiler's, about the machine
@pytest.mark.parametrize("name", quick_ones(LABELLED))
def test_planned_memory_with_labels_is_within_5_percent_of_the_measured_peak(name):
    config, objective = model_config(LABELLED[name]), objective_config(name)()
    planned = plan(config, batch_size=8, precision="float32", objective=objective, ema=False).training_bytes
    assert planned == pytest.approx(measured_peak(lambda: train_twice(objective, config, 8)), rel=0.05)


def test_an_objective_of_another_task_is_a_sentence():
    with pytest.raises(VitrailError, match="objective depth trains models for depth, and this one is for segmentation"):
        plan("compact_segmenter_small_128", objective="depth")


def test_an_objective_with_labels_is_a_sentence():
    with pytest.raises(VitrailError, match="learns from labels, and its step costs what the model's does"):
        plan("vit_tiny_patch16_224", objective="supervised")
