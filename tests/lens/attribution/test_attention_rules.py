"""Rollout, gradient × attention and perception against plain computations, with and without a class token."""

import pytest
import torch
from torch import Tensor, nn

from vitrail.errors import VitrailError
from vitrail.lens.attribution.generic import generic_map
from vitrail.lens.attribution.layers import looked_through, reading
from vitrail.lens.attribution.perception import perception_map
from vitrail.lens.attribution.rollout import rollout_map
from vitrail.lens.observe import observe_attention
from vitrail.lens.rollout import rollout
from vitrail.models.registry import create_model

from .plain import build, pictures, plain_vit, vit

CLASSES = torch.tensor([3, 1])
CAIT = {"image_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 24, "num_heads": 3, "num_classes": 5}


def rows_read(matrix: Tensor, mean: bool) -> Tensor:
    """(B, 17, 17) -> what the head's rows have of the patches, as a map."""
    row = matrix[:, 1:].mean(1) if mean else matrix[:, 0]
    return row[:, 1:].unflatten(1, (4, 4))


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("fusion", "discard"), [("mean", 0.0), ("max", 0.5), ("min", 0.9)])
def test_rollout_is_the_read_rows_of_the_whole_product(mean: bool, fusion: str, discard: float) -> None:
    model, pixels = vit("mean" if mean else "class"), pictures()
    with observe_attention(model) as seen, torch.no_grad():
        model(pixels)
    whole = rollout(seen.values(), fusion, discard, prefix=1)
    found = rollout_map(model, pixels, CLASSES, head_fusion=fusion, discard=discard)
    torch.testing.assert_close(found, rows_read(whole, mean), rtol=0, atol=1e-12)
    with pytest.raises(VitrailError, match="did you mean mean"):
        rollout_map(model, pixels, CLASSES, head_fusion="men")


def test_rollout_of_a_class_token_that_joins_late() -> None:
    model, pixels = build("cait_xxs24_224", **CAIT), pictures()
    with observe_attention(model) as seen, torch.no_grad():
        model(pixels)
    assert [tuple(seen[layer].shape[2:]) for layer in seen] == [(16, 16), (16, 16), (1, 17), (1, 17)]
    row = torch.eye(17, dtype=torch.float64)[:1].repeat(2, 1)
    for layer in (3, 2):
        mixed = torch.eye(17, dtype=torch.float64).repeat(2, 1, 1)
        mixed[:, 0] += seen[layer].mean(1)[:, 0]
        row = (row.unsqueeze(1) @ (mixed / mixed.sum(-1, keepdim=True))).squeeze(1)
    row = row[:, 1:]
    for layer in (1, 0):
        mixed = torch.eye(16) + seen[layer].mean(1).clamp(min=0)
        row = (row.unsqueeze(1) @ (mixed / mixed.sum(-1, keepdim=True))).squeeze(1)
    torch.testing.assert_close(rollout_map(model, pixels, CLASSES), row.unflatten(1, (4, 4)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("mean", [False, True])
def test_generic_rule_in_loops(mean: bool) -> None:
    model, pixels = vit("mean" if mean else "class"), pictures()
    trace = plain_vit(model, model.embed(pixels).x, mean)
    gradients = torch.autograd.grad(trace.logits[[0, 1], CLASSES].sum(), trace.weights)
    relevance = torch.eye(17, dtype=torch.float64).repeat(2, 1, 1)
    for weights, gradient in zip(trace.weights, gradients, strict=True):
        step = torch.zeros_like(relevance)
        for picture in range(2):
            for head in range(3):
                step[picture] += torch.relu(weights[picture, head] * gradient[picture, head]) / 3
        relevance = relevance + step.detach() @ relevance
    expected = rows_read(relevance - torch.eye(17), mean)
    torch.testing.assert_close(generic_map(model, pixels, CLASSES), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("layer_scale", "first_layer"), [(None, 0), (0.5, 1)])
def test_perception_in_plain_steps(mean: bool, layer_scale: float | None, first_layer: int) -> None:
    model, pixels = vit("mean" if mean else "class", layer_scale=layer_scale), pictures()
    scales = [block.attention.scale.weight if layer_scale else 1.0 for block in model.encoder.blocks]
    # The plain model has no layer scale: its last linear layers take it over.
    with torch.no_grad():
        plain = vit("mean" if mean else "class", layer_scale=layer_scale)
        for block in plain.encoder.blocks if layer_scale else ():
            for residual, last in ((block.attention, "project"), (block.mlp, "contract")):
                layer = residual.branch.get_submodule(last)
                layer.weight.mul_(residual.scale.weight[:, None])
                layer.bias.mul_(residual.scale.weight)
    trace = plain_vit(plain, model.embed(pixels).x, mean)
    perception = torch.eye(17, dtype=torch.float64).repeat(2, 1, 1)
    for index in range(first_layer, 3):
        project = model.encoder.blocks[index].attention.branch.project.weight
        given = torch.cat(trace.values[index].unbind(1), dim=-1) @ project.T * scales[index]
        share = given.norm(dim=-1) / trace.streams[index].norm(dim=-1)
        perception = perception + trace.weights[index].mean(1) @ torch.diag_embed(share) @ perception
    feedback = 0
    for step in range(4):
        at = plain_vit(plain, model.embed(pixels * (step + 0.5) / 4).x, mean)
        feedback = feedback + torch.autograd.grad(at.logits[[0, 1], CLASSES].sum(), at.weights[-1])[0] / 4
    expected = rows_read(perception * feedback.clamp(min=0).mean(1), mean)
    found = perception_map(model, pixels, CLASSES, steps=4, first_layer=first_layer, batch=3)
    torch.testing.assert_close(found, expected.detach(), rtol=1e-9, atol=1e-12)
    with pytest.raises(VitrailError, match="needs at least 1"):
        perception_map(model, pixels, CLASSES, steps=0)


@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("vit_tiny_patch16_224", {}, [1.0, 0.0, 0.0]),
        ("vit_tiny_patch16_224", {"pool": "mean"}, [0.0, 0.25, 0.25]),
        ("beit_base_patch16_224", {}, [0.0, 0.25, 0.25]),
        ("simple_vit_tiny_patch16_224", {}, [0.25, 0.25, 0.25]),
    ],
)
def test_what_the_head_reads(name: str, overrides: dict, expected: list[float]) -> None:
    shape = {"image_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 3}
    model, pixels = build(name, num_classes=5, **shape, **overrides), pictures()
    with torch.no_grad():
        _, tokens = looked_through(model, pixels)
        shares = reading(model, tokens)
    torch.testing.assert_close(shares[:, :3], torch.tensor([expected, expected], dtype=torch.float64))
    torch.testing.assert_close(shares.sum(1), torch.ones(2, dtype=torch.float64))


def test_two_class_tokens_and_heads_that_say_nothing_yet() -> None:
    shape = {"image_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 5}
    distilled = build("deit_tiny_distilled_patch16_224", **shape)
    with torch.no_grad():
        shares = reading(distilled, distilled.forward_features(pictures()))
    assert (shares[:, :2] > 0.1).all()
    assert (shares[:, 2:] == 0).all()
    fresh = create_model("vit_tiny_patch16_224", **shape)
    nn.init.zeros_(fresh.head.classify.weight)
    tokens = fresh.forward_features(pictures().float())
    assert reading(fresh, tokens).tolist() == [[1, 0, 0, 0, 0]] * 2
