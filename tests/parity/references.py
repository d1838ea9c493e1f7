"""The peers' models, with every parameter random, and ours with the same weights."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import vitrail
from vitrail.models.deit import DistilledDeiTConfig
from vitrail.models.parts import pair
from vitrail.models.simple_vit import SimpleViTConfig
from vitrail.nn.model import VisionModel


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter random values that keep activations near one, so that no constant hides a bug."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float32) * 3.4 - 1.7
        if parameter.ndim > 1 and "pos" not in name and "token" not in name:
            value = noise / math.sqrt(parameter[0].numel())
        elif name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma", "ln.weight")):
            value = 1 + 0.3 * noise
        else:
            value = 0.3 * noise
        parameter.data = value.to(parameter.dtype)
    return model.eval()


def timm_twin(config: Any, **more: Any) -> nn.Module:
    """timm's model of the same sizes, built from its class, also for rows that timm has no name for."""
    common: dict[str, Any] = {
        "img_size": pair(config.image_size),
        "patch_size": pair(config.patch_size),
        "in_chans": config.in_channels,
        "num_classes": config.num_classes,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "mlp_ratio": config.mlp_ratio,
        "dynamic_img_pad": config.pad,
        "weight_init": "skip",
        **more,
    }
    if isinstance(config, DistilledDeiTConfig):
        return VisionTransformerDistilled(**common)
    if isinstance(config, SimpleViTConfig):
        return VisionTransformer(**common, class_token=False, global_pool="avg", fc_norm=False)
    return VisionTransformer(**common, init_values=config.layer_scale, no_embed_class=not config.class_position)


def twins(config: Any, **more: Any) -> tuple[VisionModel, nn.Module]:
    """Ours and timm's with the same random weights."""
    reference = randomise(timm_twin(config, **more))
    state = reference.state_dict()
    if isinstance(config, SimpleViTConfig):
        grid = reference.patch_embed.grid_size
        reference.pos_embed.data.copy_(sincos_by_loop(*grid, config.embed_dim).float())
        del state["pos_embed"]
    model = config.build().eval()
    model.load_state_dict(vitrail.convert_state_dict(state, model))
    return model, reference


def sincos_by_loop(height: int, width: int, dim: int) -> Tensor:
    """The table of big_vision's SimpleViT, entry by entry in double precision."""
    quarter = dim // 4
    rows = []
    for y in range(height):
        for x in range(width):
            angles = [10_000 ** -(index / (quarter - 1)) for index in range(quarter)]
            row = [math.sin(x * angle) for angle in angles] + [math.cos(x * angle) for angle in angles]
            row += [math.sin(y * angle) for angle in angles] + [math.cos(y * angle) for angle in angles]
            rows.append(row)
    return torch.tensor(rows, dtype=torch.float64).unsqueeze(0)


def assert_same(ours: nn.Module, theirs: nn.Module, pixels: Tensor) -> None:
    """Logits agree: to 1e-5 in float32, to 1e-10 in float64."""
    for dtype, tolerance in both_dtypes():
        with torch.no_grad():
            a, b = ours.to(dtype)(pixels.to(dtype)), logits(theirs.to(dtype)(pixels.to(dtype)))
        assert b.std() > 0.05, "the reference's logits hardly vary: the comparison would say nothing"
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())), dtype


def both_dtypes() -> Iterator[tuple[torch.dtype, float]]:
    yield torch.float32, 1e-5
    yield torch.float64, 1e-10


def logits(output: Any) -> Tensor:
    """A tensor, or transformers' output object."""
    return output if isinstance(output, Tensor) else output.logits
