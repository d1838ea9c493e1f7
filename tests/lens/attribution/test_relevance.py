"""AttnLRP by hooks against relevance that is handed down step by step, as the paper writes it."""

import pytest
import torch
from torch import Tensor

from vitrail.lens.attribution.relevance import relevance_map, relevance_rules

from .plain import build, gelu, pictures, vit

CLASSES = torch.tensor([3, 1])


def through_linear(x: Tensor, weight: Tensor, relevance: Tensor, output: Tensor) -> Tensor:
    """R_i = Σ_j x_i w_ji R_j / z_j."""
    return x * ((relevance / output) @ weight)


def through_norm(x: Tensor, layer, relevance: Tensor) -> Tensor:
    """The deviation is a constant: a linear map of x, less its mean."""
    deviation = (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
    width = x.shape[-1]
    matrix = (torch.eye(width) - torch.full((width, width), 1 / width)).double()
    output = (x @ matrix / deviation) * layer.weight + layer.bias
    share = relevance / output * layer.weight / deviation
    return x * (share @ matrix)


def by_hand(model, x: Tensor, index: int) -> Tensor:
    """Relevance of the embedded tokens (N, D) of one picture, for a ViT with a class token."""
    kept, blocks = [], list(model.encoder.blocks)
    for block in blocks:
        attention, mlp = block.attention.branch, block.mlp.branch
        normed = block.attention.norm(x)
        joint = normed @ attention.qkv.weight.T + attention.qkv.bias
        q, k, v = joint.unflatten(1, (3, attention.num_heads, -1)).permute(1, 2, 0, 3)
        scores = q @ k.mT / q.shape[-1] ** 0.5
        weights = scores.softmax(-1)
        mixed = (weights @ v).transpose(0, 1).flatten(1)
        given = mixed @ attention.project.weight.T + attention.project.bias
        middle = x + given
        inner = block.mlp.norm(middle)
        hidden = inner @ mlp.expand.weight.T + mlp.expand.bias
        out = gelu(hidden) @ mlp.contract.weight.T + mlp.contract.bias
        kept.append((x, normed, joint, q, k, v, scores, weights, mixed, given, middle, inner, hidden, out))
        x = middle + out
    normed = model.encoder.norm(x)
    logit = normed[0] @ model.head.classify.weight[index] + model.head.classify.bias[index]
    at_norm = torch.zeros_like(x)
    at_norm[0] = normed[0] * model.head.classify.weight[index] * (logit / logit)
    relevance = through_norm(x, model.encoder.norm, at_norm)
    for block, (x, normed, joint, q, k, v, scores, weights, mixed, given, middle, inner, hidden, out) in zip(
        reversed(blocks), reversed(kept), strict=True
    ):
        attention, mlp = block.attention.branch, block.mlp.branch
        total = middle + out
        share = relevance * out / total
        at_hidden = through_linear(gelu(hidden), mlp.contract.weight, share, out)  # the activation: as it comes
        at_inner = through_linear(inner, mlp.expand.weight, at_hidden, hidden)
        at_middle = relevance * middle / total + through_norm(middle, block.mlp.norm, at_inner)
        share = at_middle * given / middle
        at_mixed = through_linear(mixed, attention.project.weight, share, given)
        at_heads = at_mixed.unflatten(1, (attention.num_heads, -1)).transpose(0, 1)
        ratio = at_heads / (weights @ v)
        at_v = v * (weights.mT @ ratio) / 2
        at_weights = weights * (ratio @ v.mT) / 2
        at_scores = scores * (at_weights - weights * at_weights.sum(-1, keepdim=True))
        slope = at_scores / scores / q.shape[-1] ** 0.5
        at_q, at_k = q * (slope @ k) / 2, k * (slope.mT @ q) / 2
        at_joint = torch.stack([at_q, at_k, at_v]).permute(2, 0, 1, 3).flatten(1)
        at_normed = through_linear(normed, attention.qkv.weight, at_joint, joint)
        relevance = at_middle * x / middle + through_norm(x, block.attention.norm, at_normed)
    return relevance


def test_rules_equal_relevance_handed_down_by_hand() -> None:
    model, pixels = vit(), pictures()
    with torch.no_grad():
        embedded = model.embed(pixels).x
        expected = torch.stack([by_hand(model, embedded[row], int(CLASSES[row])) for row in range(2)])
    found = relevance_map(model, pixels, CLASSES)
    torch.testing.assert_close(found, expected[:, 1:].sum(2).unflatten(1, (4, 4)), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_giant_patch14_dinov2", "convnext_tiny"])
def test_values_are_the_same_under_the_rules(name: str) -> None:
    shape = (
        {"depths": (1, 1), "embed_dim": 8} if name == "convnext_tiny" else {"depth": 2, "embed_dim": 24, "num_heads": 3}
    )
    size = 56 if name == "vit_giant_patch14_dinov2" else 64
    model, pixels = build(name, image_size=size, num_classes=5, **shape), pictures(2, size)
    with torch.no_grad():
        expected = model(pixels)
        with relevance_rules(model):
            torch.testing.assert_close(model(pixels), expected)
        assert torch.equal(model(pixels), expected)


def test_nothing_is_lost_where_there_are_no_biases() -> None:
    """Norms, linear layers, activations and gates hand on all that they get, to the patches and the prefix."""
    shape = {"image_size": 56, "num_classes": 5, "depth": 2, "embed_dim": 24, "num_heads": 3}
    model = build("vit_giant_patch14_dinov2", pool="both", **shape)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        for block in model.encoder.blocks:  # softmax of 0 is not 0, which is a bias of its own
            block.attention.branch.project.weight.zero_()
    seen = []
    handle = model.embed.register_forward_hook(lambda module, given, output: seen.append(output))
    with relevance_rules(model):
        score = model(pictures(2, 56))[[0, 1], CLASSES]
    handle.remove()
    relevance = (seen[0].x * torch.autograd.grad(score.sum(), seen[0].x)[0]).sum((1, 2))
    torch.testing.assert_close(relevance, score.detach(), rtol=1e-4, atol=1e-6)
