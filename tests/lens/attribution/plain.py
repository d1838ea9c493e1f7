"""A ViT written out in plain float64 tensors, and the models of these tests."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vitrail.models.registry import create_model

SMALL = {"image_size": 32, "patch_size": 8, "num_classes": 5, "embed_dim": 24, "depth": 3, "num_heads": 3}


def build(name: str, seed: int = 0, **overrides) -> nn.Module:
    """A model in float64 and evaluation mode, every parameter random, norms near 1."""
    torch.manual_seed(seed)
    model = create_model(name, **overrides).double().eval()
    for path, parameter in model.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in path and "weight" in path), std=0.3)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            nn.init.uniform_(buffer, 0.5, 1.5)
    return model


def vit(pool: str = "class", **overrides) -> nn.Module:
    return build("vit_tiny_patch16_224", pool=pool, **{**SMALL, **overrides})


def pictures(count: int = 2, size: int = 32) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@dataclass
class Trace:
    """What the plain forward pass went through, layer by layer, with its graph."""

    weights: list[Tensor]
    values: list[Tensor]
    streams: list[Tensor]
    logits: Tensor


def norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def heads(x: Tensor, number: int) -> Tensor:
    return torch.stack(x.chunk(number, dim=-1), dim=1)


def plain_vit(model: nn.Module, x: Tensor, mean: bool = False, keep: Tensor | None = None) -> Trace:
    """Embedded tokens x (B, 1 + P, D) -> logits; `keep` says which tokens may be looked at and averaged."""
    trace = Trace([], [], [], x)
    keep = torch.ones(x.shape[1], dtype=torch.bool) if keep is None else keep
    for block in model.encoder.blocks:
        attention, mlp = block.attention.branch, block.mlp.branch
        trace.streams.append(x)
        qkv = norm(x, block.attention.norm) @ attention.qkv.weight.T + attention.qkv.bias
        q, k, v = (heads(part, attention.num_heads) for part in qkv.chunk(3, dim=-1))
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~keep, -math.inf)
        weights = scores.softmax(-1)
        trace.weights.append(weights)
        trace.values.append(v)
        joined = torch.cat((weights @ v).unbind(1), dim=-1)
        x = x + joined @ attention.project.weight.T + attention.project.bias
        hidden = gelu(norm(x, block.mlp.norm) @ mlp.expand.weight.T + mlp.expand.bias)
        x = x + hidden @ mlp.contract.weight.T + mlp.contract.bias
    pooled = norm(x[:, 1:][:, keep[1:]].mean(1), model.head.norm) if mean else norm(x, model.encoder.norm)[:, 0]
    trace.logits = pooled @ model.head.classify.weight.T + model.head.classify.bias
    return trace
