"""The variants that advice chooses from, and what they cost."""

import torch

from ..machine.devices import this_machine
from ..models.registry import model_config
from ..planning.flops import count
from ..planning.parts import PRODUCT, part_costs
from ..planning.speed import Seconds, estimate, measure
from .measurements import Kind
from .needs import Target

CANDIDATES: dict[Kind, tuple[str, ...]] = {
    "hybrid": (
        "compact_tiny_8",
        "compact_tiny_16",
        "compact_small_32",
        "whitened_small_32",
        "whitened_deep_32",
        "compact_small_64",
        "compact_small_128",
    ),
    "vit": ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"),
    "cnn": ("resnet18", "resnet50"),
}
"""Kind -> variants that are suggested, the cheapest first."""


def time_elsewhere(target: Target, name: str) -> str:
    """What is not known of a variant's time on another machine than this, in words."""
    gflops = count(model_config(name)).flops / 1e9
    if target == "gpu" and this_machine().gpus:
        return f"the time on the GPU: vitrail plan {name} --device cuda --measure ({gflops:.2f} GFLOPs an image)"
    return f"the time of {name} on a {target}: this machine is none; it has {gflops:.2f} GFLOPs an image"


def seconds_of(name: str, *, measured: bool) -> Seconds:
    """Time of a variant for one image on this machine, measured or estimated from its FLOPs."""
    config = model_config(name)
    return measure(config, 1) if measured else estimate(count(config).flops)


def side_of(name: str) -> int:
    """Shorter side of a variant's images in pixels."""
    size = model_config(name).image_size
    return size if isinstance(size, int) else min(size)


def detail_words() -> str:
    """Cost of halving the patches, counted for ViT-Ti at 224 px."""
    costs = []
    for patch in (16, 8):
        config = model_config("vit_tiny_patch16_224", patch_size=patch)
        parts = part_costs(config, 1, torch.float32, torch.device("cpu"))
        total = sum(part.flops for part in parts)
        product = sum(part.flops for part in parts if part.name == PRODUCT)
        costs.append((patch, total / 1e9, 100 * product / total))
    words = "; ".join(
        f"patches of {patch}: {total:.1f} GFLOPs, {share:.0f} % of them the attention product"
        for patch, total, share in costs
    )
    return f"cost of fine detail, vit_tiny at 224 px: {words}"
