"""Attribution of clips: maps over time, rows and columns."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from vitrail.errors import VitrailError
from vitrail.lens.attribute import attribute
from vitrail.lens.attribution.input_gradient import input_times_gradient
from vitrail.lens.attribution.integrated_gradients import integrated_gradients
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.attribution.occlusion import occlusion

from .plain import build
from .test_methods import FOLLOWED

SHAPE = {"image_size": 32, "num_frames": 4, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
MODELS = {
    "videomae": ("videomae_small_patch16_224", {**SHAPE, "patch_size": 8}, (2, 4, 4)),
    "joint": ("timesformer_joint_patch16_224", {**SHAPE, "patch_size": 8}, (4, 4, 4)),
    "divided": ("timesformer_base_patch16_224", {**SHAPE, "patch_size": 8}, (4, 4, 4)),
    "space": ("timesformer_space_patch16_224", {**SHAPE, "patch_size": 8}, (4, 4, 4)),
    "compact": ("compact_video_small_64", {**SHAPE, "stem": (8, 16), "num_heads": 4}, None),
}


def clips(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture(scope="module")
def models() -> dict[str, nn.Module]:
    return {kind: build(name, **fields) for kind, (name, fields, _) in MODELS.items()}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_maps_have_the_grid_of_the_tokens(models: dict[str, nn.Module], kind: str, name: str) -> None:
    model, pixels, targets = models[kind], clips(), torch.tensor([0, 3])
    grid = MODELS[kind][2] or model.forward_features(pixels[:1]).grid
    if kind in ("divided", "space") and name in FOLLOWED:
        with pytest.raises(VitrailError, match="attention cannot be followed"):
            METHODS[name](model, pixels, targets)
        return
    maps = METHODS[name](model, pixels, targets)
    assert maps.shape == (2, *grid)
    assert maps.isfinite().all()
    assert maps.abs().max() > 0
    if not METHODS[name].signed:
        assert maps.min() >= 0
    alone = METHODS[name](model, pixels[1:], targets[1:])
    torch.testing.assert_close(alone, maps[1:], rtol=1e-5, atol=1e-7)


def test_integrated_gradients_sum_to_the_change_of_the_score(models: dict[str, nn.Module]) -> None:
    model, pixels, targets = models["videomae"], clips(), torch.tensor([0, 3])
    with torch.no_grad():
        scores = [model(one).gather(1, targets[:, None])[:, 0] for one in (pixels, torch.zeros_like(pixels))]
    found = integrated_gradients(model, pixels, targets, steps=48).flatten(1).sum(dim=1)
    torch.testing.assert_close(found, scores[0] - scores[1], rtol=0.02, atol=1e-3)


def test_input_times_gradient_is_summed_over_cells(models: dict[str, nn.Module]) -> None:
    model, pixels = models["videomae"], clips(1).requires_grad_()
    (gradient,) = torch.autograd.grad(model(pixels)[0, 2], pixels)
    products = (pixels * gradient).detach()[0].sum(dim=0)
    found = input_times_gradient(model, pixels.detach(), torch.tensor([2]))[0]
    for time, row, column in product(range(2), range(4), range(4)):
        part = products[2 * time : 2 * time + 2, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].sum()
        torch.testing.assert_close(found[time, row, column], part)


@pytest.mark.parametrize("kind", ["joint", "divided", "space"])
def test_occlusion_hides_a_block_of_space_and_time(models: dict[str, nn.Module], kind: str) -> None:
    model, pixels = models[kind], clips(1)
    found = occlusion(model, pixels, torch.tensor([1]), side=3, baseline=0.0)[0]
    total, counts = torch.zeros(4, 4, 4, dtype=torch.float64), torch.zeros(4, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        before = model(pixels)[0, 1]
        for corner in product(range(2), repeat=3):
            block = tuple(slice(start, start + 3) for start in corner)
            hidden = pixels.clone()
            time, rows, columns = block
            hidden[:, :, time, 8 * rows.start : 8 * rows.stop, 8 * columns.start : 8 * columns.stop] = 0
            total[block] += before - model(hidden)[0, 1]
            counts[block] += 1
    torch.testing.assert_close(found, total / counts)


def test_occlusion_without_tokens_agrees_with_masked_attention(models: dict[str, nn.Module]) -> None:
    """Positions are added in the embedding only: a token that is left out has no effect at all."""
    model, pixels = models["videomae"], clips(1)
    found = occlusion(model, pixels, torch.tensor([1]), side=1)[0].flatten()
    with torch.no_grad():
        tokens = model.embed(pixels)
        for number in (0, 17, 31):
            kept = [place for place in range(32) if place != number]
            fewer = type(tokens)(tokens.x[:, kept], (31,), 0)
            after = model.head(model.encoder(fewer))[0, 1]
            torch.testing.assert_close(found[number], model(pixels)[0, 1] - after)


def test_attribute_takes_a_bare_model_of_clips(models: dict[str, nn.Module]) -> None:
    pixels = clips().float()
    model = models["videomae"].float()
    try:
        assert attribute(model, pixels, target=[1, 2]).shape == (2, 2, 4, 4)
    finally:
        model.double()
    with pytest.raises(VitrailError, match="no batch of normalised images"):
        METHODS["generic"](models["videomae"], clips()[0, 0], torch.tensor([0]))
