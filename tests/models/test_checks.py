"""Values that no model can have, and names of courses."""

from typing import Any

import pytest
import torch

import vitrail
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.nn import Tokens


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit_tiny_patch16_224", {"num_classes": -1}, r"num_classes=-1: give a whole number"),
        ("vit_tiny_patch16_224", {"num_classes": "10"}, r"num_classes='10': give a whole number"),
        ("vit_tiny_patch16_224", {"num_classes": True}, r"num_classes=True"),
        ("vit_tiny_patch16_224", {"depth": 0}, r"depth=0: it must be a whole number of at least 1"),
        ("vit_tiny_patch16_224", {"num_heads": 5}, r"embed_dim=192, not a multiple of num_heads=5"),
        ("vit_tiny_patch16_224", {"num_heads": 0}, r"num_heads=0"),
        ("vit_tiny_patch16_224", {"image_size": 0}, r"image_size=0: give a side such as 224"),
        ("vit_tiny_patch16_224", {"image_size": (224, 224, 3)}, r"or \(height, width\)"),
        ("vit_tiny_patch16_224", {"drop_path": 1.0}, r"drop_path=1\.0: it is a probability"),
        (
            "swin_tiny_patch4_window7_224",
            {"depths": (2, 2)},
            r"different numbers of stages, depths=\(2, 2\), num_heads",
        ),
        ("pvt_tiny_224", {"depths": (2, 0, 2, 2)}, r"depths=\(2, 0, 2, 2\): entries must be whole numbers"),
    ],
)
def test_an_impossible_value_is_an_error(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VitrailError, match=message):
        model_config(name, **changes)


def test_names_of_courses_build_what_the_configs_build() -> None:
    small = {"image_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3}
    for build, name in (
        (vitrail.VisionTransformer, "vit_base_patch16_224"),
        (vitrail.SimpleViT, "simple_vit_small_patch16_224"),
    ):
        assert build(**small).config == model_config(name, **small)
        with torch.device("meta"):
            assert build().config == model_config(name)
    assert vitrail.create_vit_model("tiny", image_size=32).config == model_config("vit_tiny_patch16_224", image_size=32)
    depth = vitrail.UniversalViT(tasks=("depth",), image_size=32, embed_dim=32, depth=1, num_heads=2)
    assert depth(torch.zeros(1, 3, 32, 32)).shape == (1, 32, 32)


def test_the_block_of_courses_is_vits() -> None:
    block = vitrail.TransformerBlock(16, 4)
    expected = vitrail.VisionTransformer(embed_dim=16, num_heads=4, depth=1, image_size=32).encoder.blocks[0]
    assert {k: v.shape for k, v in block.state_dict().items()} == {k: v.shape for k, v in expected.state_dict().items()}
    block.load_state_dict(expected.state_dict())
    tokens = Tokens(torch.randn(2, 5, 16), grid=(2, 2), prefix=1)
    assert torch.equal(block(tokens).x, expected(tokens).x)
