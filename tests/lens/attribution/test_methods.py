"""Every method on every kind of model: shapes, signs, batches, and no trace."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from vitrail.errors import VitrailError
from vitrail.lens.attribution.methods import METHODS, QUICK, find_method, method_names

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
            "mlp_ratios": (8.0, 8.0),
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
    assert torch.equal(METHODS["generic"](model, pixels), METHODS["generic"](model, pixels, classes))


def test_errors_name_the_way_out() -> None:
    model, pixels, generic = vit(), pictures(), METHODS["generic"]
    wrong = [
        (lambda: find_method("rolout"), "did you mean rollout"),
        (lambda: generic(nn.Linear(2, 2), pixels), "Linear is not a VisionModel"),
        (lambda: generic(model, pixels[0]), r"pixels\[None\]"),
        (lambda: generic(model, (pixels * 9).byte()), "uint8"),
        (lambda: generic(model, pixels, torch.ones(2, 4)), r"vectors of shape \(2, 4\) do not fit"),
        (lambda: generic(model, pixels, torch.tensor([5, 0])), "class 5 is not there: the model has 5"),
        (lambda: generic(model, pixels, torch.tensor([1])), "1 targets for 2 images"),
    ]
    for call, message in wrong:
        with pytest.raises(VitrailError, match=message):
            call()
    autoencoder = build("mae_vit_base_patch16", image_size=32, embed_dim=24, depth=1, num_heads=3)
    with pytest.raises(VitrailError, match=r"MaskedAutoencoder reconstructs patches .* or fine-tune it first"):
        generic(autoencoder, pixels)
    segments = build("segformer_b0", image_size=64, num_classes=5)
    for method in ("rollout", "integrated_gradients"):
        with pytest.raises(VitrailError):
            METHODS[method](segments, pictures(2, 64), torch.zeros(2, dtype=torch.long))


def test_a_vector_as_target_is_a_weighted_sum_of_classes() -> None:
    model, pixels = vit(), pictures()
    target = torch.tensor([[0.0, 2.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.5]]).double()
    for name in ("lrp", "input_gradient", "occlusion"):  # linear in the score
        by_class = torch.stack([METHODS[name](model, pixels, torch.full((2,), index)) for index in range(5)])
        expected = torch.einsum("kbrc,bk->brc", by_class, target)
        torch.testing.assert_close(METHODS[name](model, pixels, target), expected, rtol=1e-4, atol=1e-6)


def test_a_model_without_classes_is_asked_about_its_embedding() -> None:
    model, pixels = vit(num_classes=0), pictures()
    embedding = model(pixels)
    direction = embedding / embedding.norm(dim=1, keepdim=True)
    for name in ("generic", "lrp", "grad_cam", "occlusion"):
        assert torch.equal(METHODS[name](model, pixels), METHODS[name](model, pixels, direction))
    # The gradient of the norm is the direction: input × gradient of ‖e‖ by hand, summed over patches of 8 × 8.
    given = pixels.clone().requires_grad_()
    model(given).norm(dim=1).sum().backward()
    expected = (given.grad * pixels).sum(1).unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).sum((2, 4))
    torch.testing.assert_close(METHODS["input_gradient"](model, pixels), expected)


def test_the_quick_methods_lead_the_table() -> None:
    assert list(METHODS)[: len(QUICK)] == list(QUICK) == ["lrp", "generic", "grad_cam", "rollout", "attention"]


PLUGIN = """
from vitrail.lens.attribution.method import Method

def brightness(model, pixels, targets):
    return pixels.mean(1)

METHOD = Method("Brightness", brightness, by_class=False)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with two entry points, one of a bare function and one of a module that does not exist."""
    (folder / "bright.py").write_text(PLUGIN)
    info = folder / "bright-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bright\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[vitrail.methods]\nbrightness = bright:METHOD\nbare = bright:brightness\nabsent = nowhere:METHOD\n"
    )
    monkeypatch.delitem(sys.modules, "bright", raising=False)  # of another test
    monkeypatch.syspath_prepend(str(folder))


def test_methods_of_other_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)
    assert set(method_names()) == {*METHODS, "brightness", "bare", "absent"}
    assert "bright" not in sys.modules
    found, pixels = find_method("brightness"), pictures()
    assert (found.title, found.signed, found.by_class) == ("Brightness", True, False)
    torch.testing.assert_close(found(vit(), pixels), pixels.mean(1))
    with pytest.raises(VitrailError, match="did you mean brightness"):
        find_method("brightnes")
    with pytest.raises(VitrailError, match="is a function without title"):
        find_method("bare")
    with pytest.raises(VitrailError, match=r"of bright .* cannot be imported"):
        find_method("absent")
