"""What attention was given and gave, and the gradient of weights that no kernel forms."""

import pytest
import torch
from torch import nn

from vitrail.errors import VitrailError
from vitrail.lens.capture import capture, weight_gradients
from vitrail.lens.observe import observe_attention
from vitrail.models.registry import create_model
from vitrail.nn import checkpoint_activations

from .attribution.plain import build, pictures, plain_vit, vit


@pytest.mark.parametrize("mean", [False, True])
def test_gradients_of_the_weights_equal_those_of_a_forward_pass_that_forms_them(mean: bool) -> None:
    model, pixels = vit("mean" if mean else "class"), pictures()
    with capture(model) as seen:
        logits = model(pixels)
    gradients = weight_gradients(logits[:, 3].sum(), list(seen.values()))
    trace = plain_vit(model, model.embed(pixels).x, mean)
    torch.testing.assert_close(trace.logits, logits, rtol=0, atol=1e-10)
    expected = torch.autograd.grad(trace.logits[:, 3].sum(), trace.weights)
    for look, found, weights, gradient in zip(seen.values(), gradients, trace.weights, expected, strict=True):
        torch.testing.assert_close(look.weights(), weights, rtol=0, atol=1e-12)
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-10)
        assert not found.requires_grad


@pytest.mark.parametrize(
    "model",
    [
        ("vit_sparse_tiny_patch16_224", {"image_size": 48, "num_classes": 5}),
        ("cait_xxs24_224", {"image_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 3, "num_classes": 5}),
        ("swin_tiny_patch4_window7_224", {"image_size": 56, "depths": (2, 2), "num_heads": (2, 2), "embed_dim": 16}),
        ("swinv2_tiny_window8_256", {"image_size": 64, "depths": (2, 2), "num_heads": (2, 2), "embed_dim": 16}),
        ("pvt_tiny_224", {"image_size": 64, "depths": (1, 1, 1, 1)}),
    ],
    ids=lambda row: row[0],
)
def test_every_attention_gives_its_weights_times_its_values(model: tuple[str, dict]) -> None:
    name, overrides = model
    network = build(name, **overrides)
    pixels = pictures(2, overrides["image_size"])
    with capture(network) as seen, observe_attention(network) as weights, torch.no_grad():
        network(pixels)
    assert list(seen) == list(weights)
    for layer, look in seen.items():
        assert torch.equal(look.weights(), weights[layer])
        torch.testing.assert_close(look.weights() @ look.given.v, look.output)


def test_only_asked_layers_and_the_last_pass() -> None:
    model, pixels = vit(), pictures()
    with capture(model, ["blocks.2", 0]) as seen:
        model(pixels)
        model(pixels[:1])
    assert list(seen) == [0, 2]
    assert seen[2].name == "encoder.blocks.2.attention.branch.attend"
    assert seen[2].output.shape == (1, 3, 17, 8)
    with pytest.raises(VitrailError, match="no layer 3"), capture(model, 3):
        pass
    with pytest.raises(VitrailError, match="no attention"), capture(nn.Linear(2, 2)):
        pass


def test_frozen_parameters_and_checkpointed_activations() -> None:
    model, pixels = vit(), pictures()
    with capture(model) as seen:
        score = model(pixels)[:, 0].sum()
    expected = weight_gradients(score, list(seen.values()))
    model.requires_grad_(False)
    checkpoint_activations(model)
    with capture(model) as seen:
        score = model(pixels.requires_grad_())[:, 0].sum()
    for found, other in zip(weight_gradients(score, list(seen.values())), expected, strict=True):
        torch.testing.assert_close(found, other)


def test_no_trace() -> None:
    model, pixels = vit(), pictures()
    before, state = model(pixels), {name: value.clone() for name, value in model.state_dict().items()}
    with capture(model) as seen:
        score = model(pixels).sum()
    weight_gradients(score, list(seen.values()))
    assert torch.equal(model(pixels), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_under_autocast_gradients_are_near() -> None:
    torch.manual_seed(0)
    model = create_model("vit_tiny_patch16_224", image_size=32, depth=2, embed_dim=24, num_heads=3, num_classes=3)
    pixels, found = pictures().float(), {}
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled), capture(model) as seen:
            score = model(pixels)[:, 0].float().sum()
        found[enabled] = weight_gradients(score, list(seen.values()))
    for exact, near in zip(found[False], found[True], strict=True):
        assert (exact - near).abs().max() < 0.05 * exact.abs().max()
