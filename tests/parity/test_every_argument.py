"""Every argument of timm's models, changed one at a time: the same outputs, or a refusal in words."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn

import vitrail
from vitrail.errors import VitrailError
from vitrail.nn import joined

from .references import randomise

VIT: dict[str, Any] = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 5}
FINE: dict[str, Any] = {**VIT, "img_size": 56}
LEVIT: dict[str, Any] = {"img_size": 64, "embed_dim": (32, 48, 64), "num_heads": (2, 3, 4), "num_classes": 5}
SWIN: dict[str, Any] = {"img_size": 64, "embed_dim": 24, "depths": (2, 2), "num_heads": (1, 2), "num_classes": 5}
FAMILIES: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": VIT,
    "deit3_small_patch16_224": VIT,
    "deit_tiny_distilled_patch16_224": VIT,
    "vit_base_patch16_clip_224": VIT,
    "vit_base_patch16_siglip_224": VIT,
    "vit_so150m_patch16_reg4_map_256": VIT,
    "vit_medium_patch16_reg4_gap_256": VIT,
    "vit_small_patch14_reg4_dinov2": FINE,
    "vit_small_plus_patch16_dinov3_qkvb": VIT,
    "vit_small_patch16_18x2_224": VIT,
    "beit_base_patch16_224": VIT,
    "eva02_tiny_patch14_224": FINE,
    "eva02_base_patch16_clip_224": VIT,
    "vit_base_patch16_rope_mixed_ape_224": VIT,
    "vit_medium_patch16_rope_reg1_gap_256": VIT,
    "cait_xxs24_224": VIT,
    "levit_128s": LEVIT,
    "levit_conv_128s": LEVIT,
    "swin_tiny_patch4_window7_224": SWIN,
    "swinv2_tiny_window8_256": SWIN,
    "convnext_atto": {"depths": (1, 1, 1, 1), "num_classes": 5},
    "pvt_v2_b0": {"embed_dims": (8, 16, 40, 32), "depths": (1, 1, 1, 1), "num_classes": 5},
    "mixer_s32_224": {"img_size": 64, "num_classes": 5},
}
POOLS = ["avg", "token", "map", "max", "avgmax", ""]
# Other values of arguments whose default shows none.
OTHERS: dict[str, list[Any]] = {
    "global_pool": POOLS,
    "act_layer": ["relu", "gelu_tanh"],
    "norm_layer": ["rmsnorm"],
    "init_values": [0.3],
    "pos_embed": ["none"],
    "rope_type": ["mixed", "cat", "dinov3"],
    "ref_feat_shape": [(8, 8)],
    "attn_type": ["rope", "eva"],
    "stem_type": ["s8", "overlap"],
    "fc_norm": [True, False],
    "use_fc_norm": [True, False],
    "use_post_transformer_norm": [True, False],
    "img_size": [96, (64, 96)],
    "num_heads": [2, (1, 3), (2, 4)],
    "window_size": [4, (4, 4)],
    "ls_init_value": [0.5, None],
    "head_dim": [8],
}
# Functions and classes, which config.json cannot hold.
LEFT_OUT = ("self", "device", "dtype", "embed_layer", "block_fn", "mlp_layer", "stem_backbone", "weight_init")


def changed(name: str, default: Any) -> list[Any]:
    """Other values of an argument."""
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int):
        return [default + 1]
    if isinstance(default, float):
        return [0.1 if "rate" in name else default + 0.5]
    numbers = isinstance(default, (tuple, list)) and all(isinstance(entry, (int, float)) for entry in default)
    return [tuple(2 * entry for entry in default)] if numbers and default else []


def parameters(kind: type) -> dict[str, Any]:
    """Arguments of a model's class and their defaults; some classes pass on those of their base."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base) and issubclass(base, nn.Module) and base is not nn.Module:
            for name, parameter in inspect.signature(base.__init__).parameters.items():
                if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) and name not in LEFT_OUT:
                    found.setdefault(name, parameter.default)
    return found


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", FAMILIES)
def test_one_argument_changed(architecture: str, tmp_path: Path) -> None:
    base = FAMILIES[architecture]
    outcomes = {"same": 1 if outcome(architecture, base, tmp_path / "base") == "same" else 0}
    for name, default in parameters(type(timm.create_model(architecture, **base))).items():
        for index, value in enumerate(changed(name, default)):
            found = outcome(architecture, {**base, name: value}, tmp_path / f"{name}{index}")
            assert found in ("same", "refused", "not built"), f"{name}={value}: {found}"
            outcomes[found] = outcomes.get(found, 0) + 1
    assert outcomes["same"] > 3


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "vit_small_patch16_dinov3"])
def test_every_pool(architecture: str, pool: str, tmp_path: Path) -> None:
    found = outcome(architecture, {**VIT, "global_pool": pool}, tmp_path)
    assert found == ("same" if pool in ("avg", "token") else "refused")


def outcome(architecture: str, arguments: dict[str, Any], folder: Path) -> str:
    """What becomes of a model of timm with these arguments: the same outputs, a refusal, or other outputs."""
    side = arguments.get("img_size", 64)
    sides = (side, side) if isinstance(side, int) else side
    pixels = torch.randn(1, arguments.get("in_chans", 3), *sides, generator=torch.Generator().manual_seed(0))
    try:
        theirs = randomise(timm.create_model(architecture, **arguments))
        with torch.no_grad():
            expected = theirs(pixels)
        timm.models._hub.save_for_hf(theirs, folder, safe_serialization=True)
    except Exception:  # timm itself has many errors for values that cannot be built
        return "not built"
    try:
        checkpoint = vitrail.load(folder)
    except VitrailError:
        return "refused"
    try:
        with torch.no_grad():
            found = joined(checkpoint.model(pixels))
    except ValueError:  # the image is no multiple of the patch: timm leaves the rest of it out
        return "refused"
    if found.shape != expected.shape:
        return "refused" if "gives all tokens" in " ".join(checkpoint.info["adapted"]) else f"{found.shape}"
    difference = float((found - expected).abs().max())
    return "same" if difference < 1e-4 * max(1.0, float(expected.abs().max())) else f"off by {difference:g}"
