"""Gradients with the pixels against captum and plain loops; Grad-CAM against pytorch-grad-cam."""

import math

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from vitrail.errors import VitrailError
from vitrail.lens.attribution.grad_cam import grad_cam
from vitrail.lens.attribution.input_gradient import input_times_gradient
from vitrail.lens.attribution.integrated_gradients import integrated_gradients
from vitrail.lens.attribution.passes import sum_to_cells
from vitrail.lens.attribution.smooth_gradient import smooth_gradient

from .plain import build, pictures, vit

CLASSES = torch.tensor([3, 1])


def in_patches(values: Tensor, side: int = 8) -> Tensor:
    """(B, 3, H, W) -> sums over channels and squares."""
    return values.sum(1).unflatten(2, (-1, side)).unflatten(1, (-1, side)).sum((2, 4))


@pytest.mark.parametrize("baseline", [0.0, -0.7])
def test_integrated_gradients_equal_captum(baseline: float) -> None:
    model, pixels = vit(), pictures()
    oracle = IntegratedGradients(model).attribute(
        pixels, torch.full_like(pixels, baseline), target=CLASSES, n_steps=12, method="gausslegendre"
    )
    found = integrated_gradients(model, pixels, CLASSES, steps=12, baseline=baseline, batch=5)
    torch.testing.assert_close(found, in_patches(oracle), rtol=1e-5, atol=1e-7)  # its steps are float32


def test_integrated_gradients_sum_to_the_change_of_the_logit() -> None:
    model, pixels = vit(), pictures()
    with torch.no_grad():
        change = (model(pixels) - model(torch.zeros_like(pixels)))[[0, 1], CLASSES]
    found = integrated_gradients(model, pixels, CLASSES, steps=100)
    torch.testing.assert_close(found.sum((1, 2)), change, rtol=1e-3, atol=1e-3)
    with pytest.raises(VitrailError, match="needs at least 1"):
        integrated_gradients(model, pixels, CLASSES, steps=0)


def test_input_times_gradient_equals_captum() -> None:
    model, pixels = vit(), pictures()
    oracle = InputXGradient(model).attribute(pixels.clone().requires_grad_(), target=CLASSES)
    torch.testing.assert_close(input_times_gradient(model, pixels, CLASSES), in_patches(oracle).detach())


def test_smooth_gradient_in_loops() -> None:
    model, pixels = vit(), pictures()
    noise = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(4)).double()
    total = torch.zeros_like(pixels)
    for picture in range(2):
        spread = 0.2 * float(pixels[picture].max() - pixels[picture].min())
        for sample in range(5):
            noisy = (pixels[picture] + spread * noise[sample])[None].requires_grad_()
            total[picture] += torch.autograd.grad(model(noisy)[0, CLASSES[picture]], noisy)[0][0] / 5
    found = smooth_gradient(model, pixels, CLASSES, samples=5, noise=0.2, seed=4, batch=3)
    torch.testing.assert_close(found, in_patches(total.abs()))


def test_every_pixel_belongs_to_one_cell() -> None:
    values = torch.rand(2, 11, 7, dtype=torch.float64)
    cells = sum_to_cells(values, (4, 3))
    for row in range(4):
        for column in range(3):
            inside = [
                values[1, y, x] for y in range(11) for x in range(7) if (y * 4 // 11, x * 3 // 7) == (row, column)
            ]
            assert float(cells[1, row, column]) == pytest.approx(math.fsum(inside))
    assert integrated_gradients(vit(), pictures(), CLASSES, steps=1, grid=(2, 3)).shape == (2, 2, 3)


class Folds:
    """Bare tokens -> map, as pytorch-grad-cam wants it."""

    def __init__(self, grid: tuple[int, int], prefix: int) -> None:
        self.grid = grid
        self.prefix = prefix

    def __call__(self, x: Tensor) -> Tensor:
        return x[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid)


def cam(model: nn.Module, target: nn.Module, pixels: Tensor, folds: Folds | None) -> Tensor:
    """pytorch-grad-cam's map before it is scaled and enlarged."""
    with GradCAM(model, [target], reshape_transform=folds) as oracle:
        scores = oracle.activations_and_grads(pixels.clone())
        sum(scores[row, index] for row, index in enumerate(CLASSES)).backward()
        (activations,), (gradients,) = (
            [part.double().numpy() for part in parts]
            for parts in (oracle.activations_and_grads.activations, oracle.activations_and_grads.gradients)
        )
        targets = [ClassifierOutputTarget(index) for index in CLASSES.tolist()]
        found = oracle.get_cam_image(pixels, target, targets, activations, gradients, False)
    model.zero_grad()
    return torch.from_numpy(found).clamp(min=0)


PYRAMID = {"image_size": 64, "num_classes": 5}
CASES = {
    "vit": ("vit_tiny_patch16_224", {"image_size": 64, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 5},
            "blocks.2.attention.norm", (4, 4), 1),
    "swin": ("swin_tiny_patch4_window7_224",
             {**PYRAMID, "depths": (1, 2), "num_heads": (2, 2), "embed_dim": 16}, "encoder.norm", (8, 8), 0),
    "convnext": ("convnext_tiny", {**PYRAMID, "depths": (1, 1, 1, 1), "embed_dim": 8}, "encoder.norm", (2, 2), 0),
    "resnet": ("resnet18", PYRAMID, "encoder.blocks.3.layers", None, 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_grad_cam_equals_pytorch_grad_cam(case: str) -> None:
    name, overrides, layer, grid, prefix = CASES[case]
    model, pixels = build(name, **overrides), pictures(2, 64)
    target = dict(model.named_modules())[layer if layer.startswith("encoder") else f"encoder.{layer}"]
    folds = Folds(grid, prefix) if grid else None
    found = grad_cam(model, pixels, CLASSES, layer=layer)
    torch.testing.assert_close(found, cam(model, target, pixels, folds), rtol=1e-6, atol=1e-12)


def test_the_default_is_the_last_block_whose_patches_count() -> None:
    pixels = pictures()
    model = vit()
    assert torch.equal(grad_cam(model, pixels, CLASSES), grad_cam(model, pixels, CLASSES, layer="blocks.1"))
    assert not grad_cam(model, pixels, CLASSES, layer="blocks.2").any()
    model = vit("mean")
    assert torch.equal(grad_cam(model, pixels, CLASSES), grad_cam(model, pixels, CLASSES, layer="encoder"))
    with pytest.raises(VitrailError, match="has no map for Grad-CAM"):
        grad_cam(model, pixels, CLASSES, layer="head")
    with pytest.raises(VitrailError, match="did you mean"):
        grad_cam(model, pixels, CLASSES, layer="blocks.11")
