"""Masked autoencoding as an objective: the loss against a loop, the model that it builds, its part of the report."""

import pytest
import torch

from vitrail.data.loader import Batch
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.mae import MAEConfig
from vitrail.models.registry import model_config
from vitrail.nn import Reconstruction
from vitrail.objectives.mae import MAEObjectiveConfig

TINY = model_config(
    "vit_tiny_patch16_224", image_size=16, patch_size=4, embed_dim=48, depth=3, num_heads=3, in_channels=1
)


def made(**options):
    config = MAEObjectiveConfig(**options)
    return config.build(config.model_config(TINY).build().eval(), None)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_loss_is_of_hidden_patches_only(seeded, normalise):
    objective = made(normalise=normalise, mask_ratio=0.5)
    pixels = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        output = objective.model(pixels)
        loss = objective.error(output, pixels)
    total, count = 0.0, 0
    for image in range(2):
        for place in range(16):
            if output.mask[image, place]:
                row, column = place // 4 * 4, place % 4 * 4
                patch = pixels[image, 0, row : row + 4, column : column + 4].flatten()
                if normalise:
                    patch = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
                total += ((output.patches[image, place] - patch) ** 2).mean().item()
                count += 1
    assert count == 16
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_trivial_prediction_has_the_loss_of_zeros(seeded, normalise):
    objective = made(normalise=normalise)
    pixels = torch.randn(3, 1, 16, 16)
    pixels[0, :, :8] = 0.5  # patches without contrast, whose mean is right
    everything = Reconstruction(torch.zeros(3, 16, 16), torch.ones(3, 16))
    trivial = objective.trivial(Batch(pixels, None))
    assert trivial.loss.item() == pytest.approx(objective.error(everything, pixels).item(), rel=1e-6)
    assert trivial.answer.endswith("mean of each patch" if normalise else "same colour everywhere")


def test_the_model_has_the_encoder_of_the_variant_and_a_small_decoder():
    config = MAEObjectiveConfig(mask_ratio=0.6).model_config(model_config("vit_small_patch16_224"))
    assert isinstance(config, MAEConfig)
    assert (config.embed_dim, config.depth, config.num_heads, config.patch_size) == (384, 12, 6, 16)
    assert (config.decoder_dim, config.decoder_depth, config.decoder_heads, config.mask_ratio) == (256, 4, 8, 0.6)
    row = model_config("mae_vit_base_patch16")
    assert MAEObjectiveConfig().model_config(row) == row
    assert MAEObjectiveConfig(decoder_dim=64, decoder_depth=1).model_config(row).decoder_heads == 2
    with pytest.raises(VitrailError, match="hides patches of a plain ViT, and Swin is not one"):
        MAEObjectiveConfig().model_config(model_config("swin_tiny_patch4_window7_224"))


def test_pictures_keep_what_was_seen_and_put_the_reconstruction_elsewhere(seeded):
    objective = made(normalise=False)
    pixels = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        output = objective.model(pixels)
    seen, painted = objective.images(output, pixels)
    for image in range(2):
        for place in range(16):
            rows, columns = slice(place // 4 * 4, place // 4 * 4 + 4), slice(place % 4 * 4, place % 4 * 4 + 4)
            truth, patch = pixels[image, 0, rows, columns], output.patches[image, place].view(4, 4)
            hidden = bool(output.mask[image, place])
            assert torch.equal(seen[image, 0, rows, columns], torch.zeros(4, 4) if hidden else truth)
            assert torch.equal(painted[image, 0, rows, columns], patch if hidden else truth)


def test_the_report_draws_three_images_for_each_of_the_first():
    preprocess = Preprocess(image_size=(16, 16), channels=1, mean=(0.5,), std=(0.5,))
    (html,) = made().report(Batch(torch.randn(9, 1, 16, 16), None), preprocess)
    assert html.count("<img") == 3 * 6
    for name in ("image", "visible patches", "reconstruction"):
        assert html.count(f'alt="{name}"') == 6
