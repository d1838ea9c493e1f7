"""Residuals side by side against timm."""

from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock
from torch import nn

import vitrail
from vitrail.models.parallel_vit import VARIANTS, ParallelViTConfig
from vitrail.nn import MLP, LayerScale, MultiHeadAttention, Parallel, Residual, Sum, Tokens

from .references import assert_same, assert_same_inside, count, loaded, on_meta, randomise, timm_twin

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9, "image_size": 64}


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


def theirs_of(config: ParallelViTConfig) -> nn.Module:
    def block(*args: Any, **kwargs: Any) -> nn.Module:
        return ParallelThingsBlock(*args, num_parallel=config.branches, **kwargs)

    return randomise(timm_twin(config, block_fn=block))


@pytest.mark.parametrize(("size", "channels"), [((64, 64), 3), ((48, 80), 4), ((112, 32), 13), ((32, 32), 1)])
@pytest.mark.parametrize("branches", [2, 3])
def test_timm(size: tuple[int, int], channels: int, branches: int) -> None:
    config = ParallelViTConfig(**SMALL | {"image_size": size}, in_channels=channels, branches=branches)
    theirs = theirs_of(config)
    assert_same(loaded(config, theirs), theirs, torch.randn(2, channels, *size))


def test_every_block() -> None:
    config = ParallelViTConfig(**SMALL | {"depth": 18})
    theirs = theirs_of(config)
    pairs = {f"encoder.blocks.{block}": f"blocks.{block}" for block in range(18)}
    assert_same_inside(loaded(config, theirs), theirs, pairs, torch.randn(1, 3, 64, 64))


def test_attention_and_mlp_together() -> None:
    """ViT-22B's block, whose first layers timm joins to one: MLP, then queries, keys and values."""
    theirs = randomise(ParallelScalingBlock(24, 3, qkv_bias=True, init_values=0.5)).double()
    attention, mlp = MultiHeadAttention(24, 3), MLP(24, 96)
    ours = Residual(nn.LayerNorm(24, eps=1e-5), Sum(attention, mlp), scale=LayerScale(24, 0.5)).double()
    parts = {"in_norm": ours.norm, "attn_out_proj": attention.project, "mlp_out_proj": mlp.contract}
    for name, part in parts.items():
        part.load_state_dict(theirs.get_submodule(name).state_dict())
    ours.scale.weight.data = theirs.ls.gamma.data
    for first, tensor in theirs.in_proj.state_dict().items():
        mlp.expand.get_parameter(first).data, attention.qkv.get_parameter(first).data = tensor.split([96, 72])
    theirs.in_norm.eps = ours.norm.eps
    x = torch.randn(2, 10, 24, dtype=torch.float64)
    assert (ours(Tokens(x, (3, 3), 1)).x - theirs(x)).abs().max() < 1e-12


def test_parallel_residuals_drop_their_paths_apart() -> None:
    class Ones(nn.Module):
        def forward(self, tokens: Tokens) -> Tokens:
            return tokens.with_x(torch.ones_like(tokens.x))

    both = Parallel(*(Residual(nn.Identity(), Ones(), drop_path=0.5) for _ in range(2)))
    tokens = Tokens(torch.zeros(8, 4, 2), (2, 2))
    added = torch.stack([both(tokens).x[:, 0, 0] for _ in range(200)])
    assert set(added.flatten().tolist()) == {0.0, 2.0, 4.0}
    assert added.sum(dim=1).unique().tolist() == [16.0]
    assert torch.equal(both.eval()(tokens).x, torch.full((8, 4, 2), 2.0))
