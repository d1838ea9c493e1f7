"""Our weights under timm's and transformers' names load strictly there and give the same logits."""

from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers

import vitrail
from vitrail.checkpoint.export import export_state_dict
from vitrail.errors import VitrailError
from vitrail.nn import joined

from .references import randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 4, "num_classes": 5}
STAGES: dict[str, Any] = {"embed_dim": 16, "depths": (1, 2), "num_heads": (2, 4), "num_classes": 5}
TIMM: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": SMALL,
    "deit_tiny_distilled_patch16_224": SMALL,
    "deit3_small_patch16_224": SMALL,
    "vit_small_patch14_reg4_dinov2": {**SMALL, "num_classes": 0},
    "vit_small_plus_patch16_dinov3_qkvb": SMALL,
    "vit_small_patch16_dinov3": SMALL,
    "vit_base_patch16_rope_ape_224": SMALL,
    "vit_base_patch16_rope_mixed_224": SMALL,
    "eva_giant_patch14_224": SMALL,
    "eva02_tiny_patch14_224": SMALL,
    "eva02_base_patch16_clip_224": SMALL,
    "vit_medium_patch16_rope_reg1_gap_256": SMALL,
    "vit_mediumd_patch16_rope_reg1_gap_256": SMALL,
    "vit_so150m_patch16_reg4_map_256": SMALL,
    "vit_base_patch16_reg4_gap_256": SMALL,
    "vit_base_patch16_siglip_224": SMALL,
    "vit_base_patch16_clip_224": SMALL,
    "vit_small_patch16_18x2_224": SMALL,
    "levit_128s": {"num_classes": 5},
    "pvt_v2_b0": {"num_classes": 5},
    "beit_base_patch16_224": SMALL,
    "cait_xxs24_224": SMALL,
    "mixer_s16_224": {"num_classes": 5},
    "swin_tiny_patch4_window7_224": STAGES,
    "swinv2_tiny_window8_256": STAGES,
}
SIZE = 64


@pytest.mark.parametrize("name", TIMM)
def test_timm_loads_strictly_and_gives_the_same(name: str) -> None:
    sizes = TIMM[name]
    side = 70 if "patch14" in name else SIZE
    ours = randomise(vitrail.create_model(name, image_size=side, **sizes)).eval()
    size = {} if name.startswith("pvt") else {"img_size": side}
    theirs = timm.create_model(name, **size, **sizes).eval()
    theirs.load_state_dict(export_state_dict(ours, "timm"), strict=True)
    pixels = torch.randn(2, 3, side, side)
    with torch.no_grad():
        expected, found = joined(ours(pixels)), theirs(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_transformers_loads_strictly_and_gives_the_same() -> None:
    ours = randomise(vitrail.create_model("vit_tiny_patch16_224", image_size=SIZE, norm_eps=1e-12, **SMALL)).eval()
    config = transformers.ViTConfig(
        image_size=SIZE,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        num_labels=5,
    )
    theirs = transformers.ViTForImageClassification(config).eval()
    theirs.load_state_dict(export_state_dict(ours, "transformers", prefix="vit."), strict=True)
    pixels = torch.randn(2, 3, SIZE, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(theirs(pixels).logits, joined(ours(pixels)), rtol=1e-4, atol=1e-4)


CNN: dict[str, Any] = {"depths": (1, 1, 1, 1), "num_classes": 5}


@pytest.mark.parametrize("name", ["convnext_tiny", "convnextv2_tiny"])
def test_convnext_loads_strictly_everywhere(name: str) -> None:
    """Factors of channels have two extra axes in torchvision, three in transformers, and none in timm."""
    ours = randomise(vitrail.create_model(name, **CNN)).eval()
    width, second = ours.config.embed_dim, name.startswith("convnextv2")
    kind = "ConvNextV2" if second else "ConvNext"
    sizes = {"num_channels": 3, "depths": [1] * 4, "hidden_sizes": [width * 2**stage for stage in range(4)]}
    theirs = getattr(transformers, f"{kind}ForImageClassification")(
        getattr(transformers, f"{kind}Config")(**sizes, num_labels=5, layer_norm_eps=1e-6)
    )
    found = {
        "timm": (timm.create_model(name, depths=(1, 1, 1, 1), num_classes=5), ""),
        "transformers": (theirs, kind.lower() + "."),
    }
    if not second:
        block = torchvision.models.convnext.CNBlockConfig
        blocks = [block(width * 2**stage, width * 2 ** (stage + 1) if stage < 3 else None, 1) for stage in range(4)]
        found["torchvision"] = torchvision.models.ConvNeXt(blocks, num_classes=5), ""
    pixels = torch.randn(1, 3, SIZE, SIZE)
    for library, (module, prefix) in found.items():
        module.load_state_dict(export_state_dict(ours, library, prefix=prefix), strict=True)
        with torch.no_grad():
            output = module.eval()(pixels)
            logits = output if isinstance(output, torch.Tensor) else output.logits
            torch.testing.assert_close(logits, joined(ours(pixels)), rtol=1e-4, atol=1e-4)


def test_what_cannot_be_exported() -> None:
    with pytest.raises(VitrailError, match="no library 'tim' to export to: did you mean timm"):
        export_state_dict(vitrail.create_model("vit_tiny_patch16_224", depth=1), "tim")
    with pytest.raises(VitrailError, match="timm has no names for the tensors of UniversalViTConfig"):
        export_state_dict(vitrail.create_model("universal_vit_tiny_patch16_224", depth=1), "timm")
    with pytest.raises(VitrailError, match="heads of this model's blocks differ"):
        export_state_dict(vitrail.create_model("vit_tiny_patch16_224", depth=1, block_heads=(2,)), "timm")
    levit = vitrail.rewrite(vitrail.create_model("levit_128s"), "fold_batch_norm")
    with pytest.raises(VitrailError, match="rewritten"):
        export_state_dict(levit, "timm")
