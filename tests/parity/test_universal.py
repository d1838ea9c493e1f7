"""UniversalViT: its encoder is ViT's, and every head gives what it gives alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch.utils._pytree import tree_leaves

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.universal import TASKS, VARIANTS, UniversalViTConfig, adopt_encoder
from vitrail.models.vit import ViTConfig
from vitrail.nn import Detections, TaskOutputs

from .references import assert_same, count, loaded, on_meta, randomise

SIZES: dict[str, Any] = {"image_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
SMALL = UniversalViTConfig(object_classes=4, pixel_classes=6, decoder_depth=2, num_queries=5, dense_dim=8, **SIZES)


def timm_vit() -> Any:
    sizes = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
    return randomise(timm.create_model("vit_tiny_patch16_224", **sizes))


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    one = {task: on_meta(replace(VARIANTS[name], tasks=(task,)).build) for task in TASKS}
    plain = name.removeprefix("universal_")
    assert count(one["classification"]) == count(on_meta(lambda: timm.create_model(plain)))
    shared = count(one["depth"].embed) + count(one["depth"].encoder)
    assert count(on_meta(VARIANTS[name].build)) == shared + sum(count(model.head) for model in one.values())


@pytest.mark.parametrize("size", [(64, 64), (96, 32)])
def test_every_head_gives_what_it_gives_alone(size: tuple[int, int]) -> None:
    model = randomise(SMALL.build())
    pixels = torch.randn(2, 3, *size)
    with torch.no_grad():
        together = model(pixels)
    assert isinstance(together, TaskOutputs)
    assert together.classification.shape == (2, 9)
    assert together.segmentation.shape == (2, 6, *size)
    assert together.depth.shape == (2, *size)
    for task in TASKS:
        single = replace(SMALL, tasks=(task,)).build().eval()
        adopt_encoder(single, model)
        single.head.load_state_dict(model.head[task].state_dict())
        with torch.no_grad():
            alone = single(pixels)
        for mine, other in zip(tree_leaves(alone), tree_leaves(getattr(together, task)), strict=True):
            assert torch.equal(mine, other), task


def test_two_tasks_give_nothing_for_the_others() -> None:
    output = replace(SMALL, tasks=("depth", "detection")).build()(torch.randn(1, 3, 64, 64))
    assert output.classification is None
    assert output.segmentation is None
    assert isinstance(output.detection, Detections)
    assert output.detection.logits.shape == (1, 5, 5)
    assert ((output.detection.boxes > 0) & (output.detection.boxes < 1)).all()
    assert (output.depth > 0).all()


def test_one_task_is_timms_vit() -> None:
    theirs = timm_vit()
    assert_same(loaded(replace(SMALL, tasks=("classification",)), theirs), theirs, torch.randn(2, 3, 64, 64))


def test_the_encoder_of_a_converted_vit() -> None:
    theirs = timm_vit()
    model = SMALL.build().eval()
    heads = {key: value.clone() for key, value in model.head.state_dict().items()}
    adopt_encoder(model, loaded(ViTConfig(**SIZES), theirs))
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(model.forward_features(pixels).x, theirs.forward_features(pixels), atol=1e-5)
    assert all(torch.equal(value, heads[key]) for key, value in model.head.state_dict().items())


def test_the_encoder_of_another_size_is_refused() -> None:
    model = SMALL.build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(VitrailError, match=r"embed\.parts\.positions\.weight"):
        adopt_encoder(model, ViTConfig(**{**SIZES, "image_size": 96}).build())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("tasks", [(), ("depth", "depth"), ("dept",)])
def test_tasks_that_make_no_sense(tasks: tuple[str, ...]) -> None:
    with pytest.raises(VitrailError, match="task"):
        vitrail.create_model("universal_vit_tiny_patch16_224", tasks=tasks)


def test_other_classes_for_one_task_keep_the_rest(tmp_path: Path) -> None:
    model = randomise(SMALL.build())
    save(Checkpoint(model, (), Preprocess()), tmp_path / "x")
    again = load(tmp_path / "x", object_classes=2)
    changed = {key for key, value in again.model.state_dict().items() if value.shape != model.state_dict()[key].shape}
    assert changed == {"head.detection.classify.weight", "head.detection.classify.bias"}
    same = model.state_dict().keys() - changed
    assert all(torch.equal(again.model.state_dict()[key], model.state_dict()[key]) for key in same)
    assert again.info["adapted"] == ["a fresh head.detection.classify"]
