"""Exact parameter counts as published, built without memory."""

import pytest
import torch

import vitrail

# Papers and model cards at 1,000 classes and the row's own image size.
PUBLISHED = {
    "ViT-B/16": 86_567_656,
    "vit_tiny_patch16_224": 5_717_416,
    "vit_small_patch16_224": 22_050_664,
    "vit_base_patch32_224": 88_224_232,
    "vit_base_patch16_384": 86_859_496,
    "vit_large_patch16_224": 304_326_632,
    "vit_large_patch32_224": 306_535_400,
    "vit_huge_patch14_224": 632_045_800,
    "deit_tiny_distilled_patch16_224": 5_910_800,
    "deit_small_distilled_patch16_224": 22_436_432,
    "deit_base_distilled_patch16_224": 87_338_192,
    "deit3_small_patch16_224": 22_059_496,
    "deit3_medium_patch16_224": 38_849_512,
    "deit3_base_patch16_224": 86_585_320,
    "deit3_large_patch16_224": 304_374_760,
    "deit3_huge_patch14_224": 632_126_440,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_count(name: str) -> None:
    with torch.device("meta"):
        model = vitrail.create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[name]


@pytest.mark.exhaustive
def test_every_row_builds() -> None:
    with torch.device("meta"):
        assert all(vitrail.create_model(name) for name in vitrail.list_models())
