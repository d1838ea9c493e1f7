"""Mistakes of Python users end in a sentence, whatever part notices them."""

from typing import Any

import pytest

import vitrail
from vitrail.errors import VitrailError

VIT, SWIN = "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (VIT, {"pretrained": True}, r"random weights; vitrail\.load\(hub id or path\) gives trained ones"),
        (VIT, {"num_classes": -1}, "num_classes=-1: give a whole number"),
        (VIT, {"num_classes": "10"}, "num_classes='10': give a whole number"),
        (VIT, {"depth": 0}, "depth=0: it must be a whole number of at least 1"),
        (VIT, {"mlp_ratio": "4"}, "mlp_ratio='4': it must be a number above 0"),
        (VIT, {"mlp_ratio": -1}, "mlp_ratio=-1: it must be a number above 0"),
        (VIT, {"norm_eps": 0}, "norm_eps=0: it must be a number above 0"),
        (VIT, {"task": "classification"}, r"TaskSpec\.parse\('classification'\)"),
        (VIT, {"image_size": 225}, "cannot be built: image 225×225 is not a multiple of patch 16×16"),
        (SWIN, {"depths": (2, 2)}, "different numbers of stages"),
        (SWIN, {"window_size": 0}, "window_size=0"),
        (SWIN, {"embed_dim": 95}, "cannot be built: embed_dim 95 is not a multiple of num_heads 3"),
        ("vit_small_patch14_reg4_dinov2", {"registers": -1}, "registers=-1: give a whole number"),
        (5, {}, "a model is named by a text, not by 5"),
    ],
)
def test_what_cannot_be_built(name: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(VitrailError, match=message):
        vitrail.create_model(name, **fields)


def test_a_model_is_no_name_of_weights() -> None:
    with pytest.raises(VitrailError, match=f"is the name of a model, not of weights: load a hub id, timm/{VIT}"):
        vitrail.load(VIT)
    with pytest.raises(VitrailError, match="named by a path or a hub id, not by 5"):
        vitrail.load(5)  # type: ignore[arg-type]
