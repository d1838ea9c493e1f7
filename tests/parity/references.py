"""The peers' models, with every parameter random, and ours with the same weights."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import vitrail
from vitrail.checkpoint.convert import recognise, tensors
from vitrail.checkpoint.convert.rename import to_ours, to_theirs
from vitrail.models.deit import DistilledDeiTConfig
from vitrail.models.fields import pair
from vitrail.models.simple_vit import SimpleViTConfig
from vitrail.nn import BaseVisionModel, Tokens, joined


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and buffer random values that keep activations near one, so that no constant hides a bug."""
    generator = torch.Generator().manual_seed(seed)
    norms = {id(p) for m in model.modules() if "Norm" in type(m).__name__ for p in m.parameters(recurse=False)}
    for name, parameter in model.named_parameters():
        noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float32) * 3.4 - 1.7
        if parameter.ndim > 1 and "pos" not in name and "token" not in name:
            value = noise / math.sqrt(parameter[0].numel())
        elif (id(parameter) in norms and "bias" not in name) or "gamma" in name:
            value = 1 + 0.3 * noise
        else:
            value = 0.3 * noise
        parameter.data = value.to(parameter.dtype)
    for name, buffer in model.named_buffers():
        noise = torch.rand(buffer.shape, generator=generator, dtype=torch.float32)
        if name.endswith("running_mean"):
            buffer.data = (noise - 0.5).to(buffer.dtype)
        elif name.endswith("running_var"):
            buffer.data = (0.5 + noise).to(buffer.dtype)
    return model.eval()


def loaded(config: Any, reference: nn.Module | dict[str, Any]) -> BaseVisionModel:
    """Ours with the weights of a reference: strictly converted, and back again to the same tensors."""
    model = config.build().eval()
    state = reference if isinstance(reference, dict) else reference.state_dict()
    model.load_state_dict(vitrail.convert_state_dict(state, model))
    check_round_trip(state)
    return model


def saved(theirs: nn.Module, config: Any, folder: Path) -> BaseVisionModel:
    """Ours, read from what theirs saves, under the names of the files on the hub; the config is as expected."""
    theirs.float().save_pretrained(folder)
    model = vitrail.load(folder).model
    assert model.config == config
    return model


def check_round_trip(state: dict[str, Any]) -> None:
    """The table that was recognised inverts: their names, ours, and theirs again, every tensor equal."""
    state = tensors(state)
    layout = recognise(state)
    renamed = to_ours(state, layout)
    assert (renamed.incomplete, renamed.unexpected) == ((), ())
    back = to_theirs(renamed.state, layout, num_heads=1)
    left = layout.strip(state)
    assert back.keys() == left.keys() - set(renamed.unused) - layout.computed.keys()
    assert all(torch.equal(back[name].reshape(left[name].shape), left[name]) for name in back)


def assert_same_inside(
    ours: nn.Module, theirs: nn.Module, pairs: dict[str, str], pixels: Tensor, *more: Tensor
) -> None:
    """Submodules give the same, name by name: each of ours as a sequence (B, N, D), whatever theirs is.

    A name of theirs may say how its output lies, as in "stages.0:BCHW"; four dimensions are BHWC otherwise. `more` is
    what the models take behind the pixels.
    """
    ours, theirs, pixels = ours.double(), theirs.double(), pixels.double()
    a, b = (
        _outputs(ours, list(pairs), pixels, *more),
        _outputs(theirs, [name.split(":")[0] for name in pairs.values()], pixels, *more),
    )
    for mine, name in pairs.items():
        other = b[name.split(":")[0]]
        if other.ndim == 4:
            other = other.permute(0, 2, 3, 1).flatten(1, 2) if name.endswith(":BCHW") else other.flatten(1, 2)
        assert a[mine].shape == other.shape, mine
        assert (a[mine] - other).abs().max() <= 1e-10 * max(1.0, float(other.abs().max())), mine


def stage_pairs(depths: tuple[int, ...], theirs: str) -> dict[str, str]:
    """Our names of the blocks of a pyramid, and theirs, in which {stage} and {block} stand for the numbers."""
    return {
        f"encoder.blocks.{stage}.blocks.{block}": theirs.format(stage=stage, block=block)
        for stage, depth in enumerate(depths)
        for block in range(depth)
    }


def _outputs(model: nn.Module, names: list[str], *inputs: Tensor) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            output = output.x if isinstance(output, Tokens) else output
            seen[name] = output[0] if isinstance(output, tuple) else output

        return hook

    hooks = [model.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    with torch.no_grad():
        model(*inputs)
    for hook in hooks:
        hook.remove()
    return seen


class FramesFirst(nn.Module):
    """A peer's model that takes videos as (B, T, C, H, W), taking ours, (B, C, T, H, W)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return logits(self.model(pixels.transpose(1, 2)))


def count(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """A model without memory."""
    with torch.device("meta"):
        return build()


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
    stands_apart = not getattr(config, "class_position", True)
    pool = {"global_pool": "avg"} if getattr(config, "pool", "class") == "mean" else {}
    return VisionTransformer(**common, init_values=config.layer_scale, no_embed_class=stands_apart, **pool)


def twins(config: Any, **more: Any) -> tuple[BaseVisionModel, nn.Module]:
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


def assert_same(ours: nn.Module, theirs: nn.Module, pixels: Tensor, double: float = 1e-10) -> None:
    """Logits, and boxes where there are some, agree: to 1e-5 in float32, to 1e-10 in float64."""
    for dtype, tolerance in both_dtypes(double):
        with torch.no_grad():
            output, expected = ours.to(dtype)(pixels.to(dtype)), theirs.to(dtype)(pixels.to(dtype))
        for a, b in zip(tree_leaves(joined(output)), answers(expected), strict=True):
            assert b.std() > 0.05, "the reference's logits hardly vary: the comparison would say nothing"
            assert a.shape == b.shape
            assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())), dtype


def both_dtypes(double: float = 1e-10) -> Iterator[tuple[torch.dtype, float]]:
    yield torch.float32, 1e-5
    yield torch.float64, double


def answers(output: Any) -> list[Tensor]:
    """What a reference's output holds that is compared, of a tensor or transformers' output object."""
    if isinstance(output, Tensor):
        return [output]
    return [getattr(output, name) for name in ("logits", "pred_boxes", "predicted_depth") if hasattr(output, name)]


def logits(output: Any) -> Tensor:
    """The first of the `answers`."""
    return answers(output)[0]
