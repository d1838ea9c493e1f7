"""What several families build in the same way."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import VitrailError, nearest
from ..nn.activation import QuickGELU
from ..nn.attention import MultiHeadAttention
from ..nn.encoder import Block, Encoder
from ..nn.head import ClassAndMean, FirstToken, Head, MeanPool
from ..nn.mlp import MLP
from ..nn.residual import LayerScale, Residual, linear_rates

Size = int | tuple[int, int]
"""A square side or (height, width), in pixels."""


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def task_of(config: Any) -> str:
    """What a model of this config is for: "classification", unless the config says otherwise."""
    return getattr(config, "task", "classification")


def unnamed_logits(config: Any) -> int:
    """How many logits a model has beside those of its classes: a detector has one for "no object"."""
    return getattr(config, "unnamed_logits", 0)


def densest(config: Any) -> Any:
    """The config whose cost does not hang on what is in a picture: the most that this one can cost."""
    return config.densest() if hasattr(config, "densest") else config


def classes_of(config: Any) -> int:
    """How many classes a model tells apart; 0 for one that is not made for classes."""
    return getattr(config, "num_classes", 0)


def check_classifies(config: Any, name: str) -> None:
    """Raise VitrailError where a model gives no logits of classes."""
    if task_of(config) != "classification":
        raise VitrailError(
            f"{name} is for {task_of(config)}, and this needs a classifier: choose another of `vitrail models`"
        )


def example_inputs(config: Any, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
    """Zeros of the shapes that the model's `forward` takes, at the config's own size.

    Pixels (B, C, H, W); (B, C, T, H, W) where the config has `num_frames`; and token numbers (B, L) behind them where
    it has a `context_length`, or the noise (B, N) that hides patches where it has a `mask_ratio`.
    """
    frames = (config.num_frames,) if hasattr(config, "num_frames") else ()
    pixels = torch.zeros(batch, config.in_channels, *frames, *pair(config.image_size), device=device)
    if hasattr(config, "mask_ratio"):
        (height, width), (rows, columns) = pair(config.image_size), pair(config.patch_size)
        return pixels, torch.zeros(batch, height // rows * (width // columns), device=device)
    if not hasattr(config, "context_length"):
        return (pixels,)
    return pixels, torch.zeros(batch, config.context_length, dtype=torch.long, device=device)


class EncoderFields(Protocol):
    """What a config says of its encoder."""

    @property
    def embed_dim(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def mlp_ratio(self) -> float: ...
    @property
    def drop_path(self) -> float: ...
    @property
    def dropout(self) -> float: ...
    @property
    def norm_eps(self) -> float: ...


ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
}


def activation_of(name: str) -> Callable[[], nn.Module]:
    """What makes the activation that a config names."""
    if name not in ACTIVATIONS:
        raise VitrailError(f"there is no activation {name!r}: {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def vit_encoder(
    config: EncoderFields,
    *,
    layer_scale: float | None = None,
    activation: Callable[[], nn.Module] = nn.GELU,
    norm: bool = True,
) -> Encoder:
    """ViT's encoder: `depth` equal blocks, whose drop path grows linearly, and a norm, unless the head has it."""
    blocks = [
        vit_block(
            config.embed_dim,
            config.num_heads,
            config.mlp_ratio,
            drop_path=rate,
            dropout=config.dropout,
            layer_scale=layer_scale,
            norm_eps=config.norm_eps,
            activation=activation,
        )
        for rate in linear_rates(config.drop_path, config.depth)
    ]
    return Encoder(blocks, norm=nn.LayerNorm(config.embed_dim, eps=config.norm_eps) if norm else None)


def vit_block(
    dim: int,
    num_heads: int,
    mlp_ratio: float,
    *,
    drop_path: float = 0.0,
    dropout: float = 0.0,
    layer_scale: float | None = None,
    norm_eps: float = 1e-6,
    activation: Callable[[], nn.Module] = nn.GELU,
    bias: nn.Module | None = None,
) -> Block:
    """The pre-norm block of ViT (Dosovitskiy et al., 2021, equations 2 and 3), with DeiT III's optional layer scale.

    `bias` is added to the scores, see `MultiHeadAttention`.
    """
    residual = partial(pre_norm, dim, drop_path=drop_path, layer_scale=layer_scale, norm_eps=norm_eps)
    return Block(
        attention=residual(MultiHeadAttention(dim, num_heads, bias=bias, dropout=dropout)),
        mlp=residual(MLP(dim, int(dim * mlp_ratio), activation=activation, dropout=dropout)),
    )


def pre_norm(
    dim: int,
    branch: nn.Module,
    *,
    drop_path: float = 0.0,
    layer_scale: float | None = None,
    norm_eps: float = 1e-6,
) -> Residual:
    """x + branch(layer norm(x)), with optional layer scale and stochastic depth."""
    scale = None if layer_scale is None else LayerScale(dim, layer_scale)
    return Residual(nn.LayerNorm(dim, eps=norm_eps), branch, scale=scale, drop_path=drop_path)


def post_norm(dim: int, branch: nn.Module, *, drop_path: float = 0.0, norm_eps: float = 1e-5) -> Residual:
    """layer norm(x + branch(x)), as in the first transformer (Vaswani et al., 2017, section 3.1)."""
    return Residual(nn.Identity(), branch, after=nn.LayerNorm(dim, eps=norm_eps), drop_path=drop_path)


def stage_rates(last: float, depths: tuple[int, ...]) -> list[list[float]]:
    """`linear_rates` over the blocks of all stages, stage by stage."""
    rates = iter(linear_rates(last, sum(depths)))
    return [list(islice(rates, depth)) for depth in depths]


def classifier(dim: int, num_classes: int, *, bias: bool = True) -> nn.Module:
    """A linear layer, or nothing when there are no classes: the model then gives its pooled embedding."""
    return nn.Linear(dim, num_classes, bias=bias) if num_classes else nn.Identity()


POOLS: dict[str, type[nn.Module]] = {"class": FirstToken, "mean": MeanPool, "both": ClassAndMean}
"""What a head may look at: the class token, the mean over the patches, or one beside the other."""


def pooling_head(pool: str, dim: int, num_classes: int, norm: nn.Module | None = None) -> Head:
    """One of `POOLS`, perhaps a norm, and a `classifier`."""
    if pool not in POOLS:
        raise VitrailError(f"there is no pool {pool!r}: {nearest(pool, list(POOLS))}")
    width = 2 * dim if pool == "both" else dim
    return Head(POOLS[pool](), classifier(width, num_classes), norm=norm)
