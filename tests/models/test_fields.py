"""Configs: abstract ones that state fields once, and final ones that families build from."""

import dataclasses
from typing import Any

import pytest

from vitrail.models.clip import CLIPConfig, CLIPVisionConfig
from vitrail.models.families import own_variants
from vitrail.models.fields import (
    ClassifierFields,
    EncoderFields,
    ModelConfig,
    PositionedFields,
    ViTFields,
    shared_fields,
)
from vitrail.models.registry import model_config, override
from vitrail.models.vit import ViTConfig
from vitrail.task_spec import CLASSIFICATION, EMBEDDING, MULTI_LABEL


@pytest.mark.parametrize("kind", [ModelConfig, ClassifierFields, EncoderFields, ViTFields, PositionedFields])
def test_what_states_fields_builds_nothing(kind: Any) -> None:
    with pytest.raises(TypeError, match="abstract"):
        kind()


@pytest.mark.parametrize("kind", sorted({type(row) for row in own_variants().values()}, key=str))
def test_families_are_final_and_take_no_other_field(kind: Any) -> None:
    assert not kind.__subclasses__()
    assert not hasattr(object.__new__(kind), "__dict__")


def test_fields_are_frozen_and_replaced() -> None:
    config = ViTConfig(depth=3)
    assert dataclasses.replace(config, depth=12) == ViTConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.depth = 4  # type: ignore[misc]


def test_shared_fields_are_those_of_both() -> None:
    shared = shared_fields(CLIPConfig(activation="gelu"), CLIPVisionConfig)
    assert shared["activation"] == "gelu"
    assert shared["patch_size"] == 32
    assert not {"joint_dim", "num_classes", "head_bias"} & set(shared)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("vit_base_patch16_224", "classification"),
        ("levit_128s", "classification"),
        ("adaptive_vit_tiny_patch16_224", "classification"),
        ("dino_vits16", "embedding"),
        ("dino_vits16_pretraining", "embedding"),
        ("vit_base_patch14_dinov2", "embedding"),
        ("vit_base_patch16_dinov3", "embedding"),
        ("vit_base_patch16_siglip_224", "embedding"),
        ("vit_base_patch16_clip_quickgelu_224", "embedding"),
        ("vit_base_patch16_clip_224", "classification"),
        ("clip_vit_base_patch16", "image-text"),
        ("siglip2_base_patch16_224", "image-text"),
        ("mae_vit_base_patch16", "reconstruction"),
        ("beit_base_patch16_224_pretraining", "masked-image-modelling"),
        ("detr_resnet50", "detection"),
        ("compact_detector_small_128", "detection"),
        ("segformer_b0", "segmentation"),
        ("dpt_large_384", "depth"),
        ("dpt_large_segmentation_384", "segmentation"),
        ("universal_vit_tiny_patch16_224", "several"),
    ],
)
def test_the_task_of_a_variant(name: str, task: str) -> None:
    assert model_config(name).task.name == task


def test_classes_make_a_classifier_of_an_embedding_and_the_other_way_round() -> None:
    for name in ("dino_vits16", "vit_base_patch14_dinov2", "vit_base_patch16_siglip_224"):
        assert (model_config(name).num_outputs, model_config(name).task) == (0, EMBEDDING)
        given = model_config(name, num_classes=10)
        assert (given.num_outputs, given.task) == (10, CLASSIFICATION)
        assert override(given, {"num_classes": 0}, name).task == EMBEDDING
        assert model_config(name, num_classes=10, task=MULTI_LABEL).task == MULTI_LABEL
    assert model_config("swin_tiny_patch4_window7_224", num_classes=0).task == EMBEDDING
    assert model_config("cvt_13_224", task=MULTI_LABEL, num_classes=0).task == EMBEDDING


def test_a_projection_is_an_embedding_and_classes_are_not() -> None:
    projection = CLIPConfig().image()
    assert (projection.num_classes, projection.num_outputs, projection.task) == (512, 0, EMBEDDING)
    classifier = override(projection, {"num_classes": 10}, "clip")
    assert (classifier.num_outputs, classifier.task, classifier.head_bias) == (10, CLASSIFICATION, True)
    prototypes = model_config("dino_vits16_pretraining", num_classes=10)
    assert (prototypes.num_outputs, prototypes.task, prototypes.can_classify) == (0, EMBEDDING, False)


@pytest.mark.parametrize(
    ("name", "changes", "outputs", "unnamed"),
    [
        ("detr_resnet50", {}, 91, 1),
        ("compact_detector_small_128", {}, 80, 0),
        ("segformer_b0", {}, 150, 0),
        ("mae_vit_base_patch16", {}, 0, 0),
        ("clip_vit_base_patch16", {}, 0, 0),
        ("universal_vit_tiny_patch16_224", {}, 1000, 0),
        ("universal_vit_tiny_patch16_224", {"tasks": ("detection",)}, 91, 1),
        ("universal_vit_tiny_patch16_224", {"tasks": ("segmentation",)}, 150, 0),
        ("universal_vit_tiny_patch16_224", {"tasks": ("depth",)}, 0, 0),
    ],
)
def test_outputs_with_and_without_names(name: str, changes: dict[str, Any], outputs: int, unnamed: int) -> None:
    config = model_config(name, **changes)
    assert (config.num_outputs, config.unnamed_outputs) == (outputs, unnamed)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("vit_base_patch16_224", [(2, 3, 224, 224)]),
        ("videomae_base_patch16_224", [(2, 3, 16, 224, 224)]),
        ("clip_vit_base_patch16", [(2, 3, 224, 224), (2, 77)]),
        ("mae_vit_base_patch16", [(2, 3, 224, 224), (2, 196)]),
        ("beit_base_patch16_224_pretraining", [(2, 3, 224, 224), (2, 196)]),
    ],
)
def test_example_inputs(name: str, shapes: list[tuple[int, ...]]) -> None:
    inputs = model_config(name).example_inputs(2, "meta")
    assert [tuple(tensor.shape) for tensor in inputs] == shapes
    assert all(tensor.device.type == "meta" for tensor in inputs)
