"""Every method on every kind of model: shapes, signs, batches, and no trace."""

import pytest
import torch
from torch import nn

from vitrail.errors import VitrailError
from vitrail.lens.attribution.methods import METHODS, attribute

from .plain import SMALL, build, pictures, vit

FOLLOWED = ("rollout", "flow", "generic", "perception")
"""What needs layers that all mix the same patches."""

WITHOUT = ("convnext", "mixer", "mobilenet")
"""What has no attention at all."""

PLAIN = {
    "vit": ("vit_tiny_patch16_224", SMALL),
    "mean": ("vit_tiny_patch16_224", {**SMALL, "pool": "mean"}),
    "simple": ("simple_vit_tiny_patch16_224", SMALL),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL),
    "registers": ("vit_small_patch14_reg4_dinov2", SMALL),
    "rotary": ("vit_small_patch16_dinov3", SMALL),
    "beit": ("beit_base_patch16_224", SMALL),
    "cait": ("cait_xxs24_224", {**SMALL, "class_depth": 2}),
    "pooled by attention": ("vit_base_patch16_siglip_224", {**SMALL, "num_classes": 0}),
    "sparse": ("vit_sparse_tiny_patch16_224", {**SMALL, "window_size": 3}),
}
OTHERS = {
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"image_size": 56, "depths": (1, 2), "num_heads": (2, 2), "embed_dim": 16, "num_classes": 5},
    ),
    "pvt": (
        "pvt_tiny_224",
        {
            "image_size": 32,
            "depths": (1, 2),
            "embed_dims": (8, 16),
            "num_heads": (1, 2),
            "reductions": (2, 1),
            "num_classes": 5,
        },
    ),
    "convnext": ("convnext_tiny", {"image_size": 64, "depths": (1, 1, 1, 1), "embed_dim": 8, "num_classes": 5}),
    "mixer": ("mixer_b16_224", {"image_size": 32, "patch_size": 8, "depth": 1, "embed_dim": 24, "num_classes": 5}),
    "mobilenet": ("mobilenet_v3_small", {"image_size": 32, "num_classes": 5}),
}


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    return {kind: build(name, **overrides) for kind, (name, overrides) in (PLAIN | OTHERS).items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", PLAIN | OTHERS)
def test_maps_or_an_error_that_says_what_to_use(models: dict[str, nn.Module], kind: str, method: str) -> None:
    model, size = models[kind], (PLAIN | OTHERS)[kind][1]["image_size"]
    pixels, classes = pictures(2, size), torch.tensor([3, 1])
    if (kind in OTHERS and method in FOLLOWED) or (kind in WITHOUT and method == "attention"):
        with pytest.raises(VitrailError, match="use grad_cam, integrated_gradients or occlusion"):
            METHODS[method](model, pixels, classes)
        return
    found = METHODS[method](model, pixels, classes)
    with torch.no_grad():
        assert found.shape == (2, *model.forward_features(pixels).grid)
    assert found.isfinite().all()
    assert not found.requires_grad
    assert METHODS[method].signed or (found >= 0).all()
    alone = torch.cat([METHODS[method](model, pixels[row : row + 1], classes[row : row + 1]) for row in range(2)])
    torch.testing.assert_close(found, alone, rtol=1e-6, atol=1e-12 + 1e-9 * float(found.abs().max()))
    if not METHODS[method].by_class:
        assert torch.equal(METHODS[method](model, pixels, torch.tensor([0, 2])), found)


@pytest.mark.parametrize("seed", range(4))
def test_talking_heads_that_give_less_than_nothing(seed: int) -> None:
    model = build(PLAIN["cait"][0], seed, **PLAIN["cait"][1])
    pixels = pictures(1, PLAIN["cait"][1]["image_size"])
    for method in FOLLOWED:
        assert METHODS[method].signed or (METHODS[method](model, pixels) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_no_trace(method: str) -> None:
    model, pixels = vit(dropout=0.5, drop_path=0.5), pictures()
    frozen = model.embed.patches.project.weight.requires_grad_(False)
    model.encoder.blocks[1].train()
    before, state = model.eval()(pixels), {name: value.clone() for name, value in model.state_dict().items()}
    model.encoder.blocks[1].train()
    training = [module.training for module in model.modules()]
    with torch.inference_mode():
        found = METHODS[method](model, pixels)
    assert [module.training for module in model.modules()] == training
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == [
        "embed.patches.project.weight"
    ]
    assert frozen.grad is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not pixels.requires_grad
    assert all(not (m._forward_hooks or m._forward_pre_hooks or m._backward_hooks) for m in model.modules())
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model.eval()(pixels), before)
    model.requires_grad_(False)
    torch.testing.assert_close(METHODS[method](model, pixels), found.clone())


def test_predicted_classes_by_default() -> None:
    model, pixels = vit(), pictures()
    classes = model(pixels).argmax(1)
    assert torch.equal(attribute(model, pixels), attribute(model, pixels, classes, method="generic"))


def test_errors_name_the_way_out() -> None:
    model, pixels = vit(), pictures()
    wrong = [
        (lambda: attribute(model, pixels, method="rolout"), "did you mean rollout"),
        (lambda: attribute(nn.Linear(2, 2), pixels), "Linear is not a VisionModel"),
        (lambda: attribute(model, pixels[0]), r"pixels\[None\]"),
        (lambda: attribute(model, (pixels * 9).byte()), "uint8"),
        (lambda: attribute(model, pixels, torch.tensor([5, 0])), "class 5 is not there: the model has 5"),
        (lambda: attribute(model, pixels, torch.tensor([1])), "1 classes for 2 pictures"),
    ]
    for call, message in wrong:
        with pytest.raises(VitrailError, match=message):
            call()
    autoencoder = build("mae_vit_base_patch16", image_size=32, embed_dim=24, depth=1, num_heads=3)
    with pytest.raises(VitrailError, match="is not a VisionModel of embed, encoder and head"):
        attribute(autoencoder, pixels)
    segments = build("segformer_b0", image_size=64, num_classes=5)
    for method in ("rollout", "integrated_gradients"):
        with pytest.raises(VitrailError):
            attribute(segments, pictures(2, 64), torch.zeros(2, dtype=torch.long), method=method)
