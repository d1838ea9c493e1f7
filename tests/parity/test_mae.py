"""MAE against transformers, and the ViT that is fine-tuned afterwards against timm."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn
from transformers.models.vit_mae import modeling_vit_mae

import vitrail
from vitrail.models.mae import VARIANTS, MAEConfig
from vitrail.models.vit import ViTConfig
from vitrail.nn import MaskedAutoencoder, sincos_positions
from vitrail.nn.masking import patchify, unpatchify
from vitrail.objectives.mae import MaskedReconstruction

from .references import assert_same, both_dtypes, count, loaded, on_meta, randomise

CARD: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 192,
    "decoder_hidden_size": 32,
    "decoder_num_hidden_layers": 2,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 128,
    "image_size": 96,
}
SMALL: dict[str, Any] = {
    "embed_dim": 48,
    "depth": 2,
    "num_heads": 3,
    "decoder_dim": 32,
    "decoder_depth": 2,
    "decoder_heads": 2,
    "image_size": 96,
    "norm_eps": 1e-12,
}


def table_by_loop(side: int, dim: int) -> Tensor:
    """The fixed positions of the release, entry by entry in double precision; the class token's row is zero."""
    waves = [10_000 ** -(i / (dim // 4)) for i in range(dim // 4)]
    rows = [[0.0] * dim]
    for y in range(side):
        for x in range(side):
            rows.append([f(place * wave) for place in (x, y) for f in (math.sin, math.cos) for wave in waves])
    return torch.tensor(rows, dtype=torch.float64)[None].float()


def reference(**more: Any) -> nn.Module:
    """transformers' model, random but for the tables that are computed."""
    model = randomise(transformers.ViTMAEForPreTraining(transformers.ViTMAEConfig(**CARD, **more)))
    model.vit.embeddings.position_embeddings.data = table_by_loop(6, 48)
    model.decoder.decoder_pos_embed.data = table_by_loop(6, 32)
    return model


def test_positions_are_those_of_transformers() -> None:
    by_rows, by_columns = modeling_vit_mae.build_2d_sinusoidal_position_embedding(
        height=6, width=6, embed_dim=48, cls_token=True
    ).chunk(2, dim=-1)
    assert (torch.cat([by_columns, by_rows], dim=-1) - table_by_loop(6, 48)).abs().max() < 1e-6
    ours = sincos_positions(6, 6, 48, inclusive=False)
    assert torch.equal(ours, table_by_loop(6, 48)[:, 1:])


def assert_same_reconstruction(ours: nn.Module, theirs: nn.Module, pixels: Tensor) -> None:
    noise = torch.rand(pixels.shape[0], (pixels.shape[2] // 16) * (pixels.shape[3] // 16))
    for dtype, tolerance in both_dtypes():
        with torch.no_grad():
            output = ours.to(dtype)(pixels.to(dtype), noise)
            expected = theirs.to(dtype)(pixels.to(dtype), noise=noise)
        assert torch.equal(output.mask, expected.mask.to(dtype))
        assert (output.patches - expected.logits).abs().max() <= tolerance * max(1.0, expected.logits.abs().max())
        loss = MaskedReconstruction(ours, normalise=theirs.config.norm_pix_loss).error(output, pixels.to(dtype))
        assert abs(loss - expected.loss) <= tolerance * expected.loss


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    row = VARIANTS[name]
    card = transformers.ViTMAEConfig(
        hidden_size=row.embed_dim,
        num_hidden_layers=row.depth,
        num_attention_heads=row.num_heads,
        intermediate_size=4 * row.embed_dim,
        patch_size=row.patch_size,
    )
    with torch.device("meta"):
        theirs = transformers.ViTMAEForPreTraining(card)
    learned = sum(parameter.numel() for parameter in theirs.parameters() if parameter.requires_grad)
    assert count(on_meta(lambda: vitrail.create_model(name))) == learned


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("normalise", [False, True])
def test_transformers(tmp_path: Path, channels: int, normalise: bool) -> None:
    theirs = reference(num_channels=channels, norm_pix_loss=normalise)
    pixels = torch.randn(3, channels, 96, 96)
    assert_same_reconstruction(loaded(MAEConfig(in_channels=channels, **SMALL), theirs), theirs, pixels)
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    ours = vitrail.load(tmp_path).model
    assert isinstance(ours, MaskedAutoencoder)
    assert_same_reconstruction(ours, theirs, pixels)


def test_an_encoder_alone_is_a_vit(tmp_path: Path) -> None:
    theirs = randomise(transformers.ViTMAEModel(transformers.ViTMAEConfig(**CARD, mask_ratio=0.0)))
    theirs.save_pretrained(tmp_path)
    pixels, noise = torch.randn(2, 3, 96, 96), torch.arange(36.0).expand(2, -1)
    with torch.no_grad():
        expected = theirs(pixels, noise=noise).last_hidden_state
        assert (vitrail.load(tmp_path).model.forward_features(pixels).x - expected).abs().max() < 1e-5


def test_official_names() -> None:
    model = MAEConfig(**SMALL).build().eval()
    theirs = reference()
    model.load_state_dict(vitrail.convert_state_dict(theirs.state_dict(), model))
    names = {
        "embed.parts.prefix.weight": "cls_token",
        "embed.patches.project": "patch_embed.proj",
        "head.encoder.blocks": "decoder_blocks",
        "head.encoder.norm": "decoder_norm",
        "head.embed": "decoder_embed",
        "head.predict": "decoder_pred",
        "head.mask_token": "mask_token",
        "encoder.blocks": "blocks",
        "encoder.norm": "norm",
        "attention.norm": "norm1",
        "attention.branch.qkv": "attn.qkv",
        "attention.branch.project": "attn.proj",
        "mlp.norm": "norm2",
        "mlp.branch.expand": "mlp.fc1",
        "mlp.branch.contract": "mlp.fc2",
    }
    state = {"pos_embed": table_by_loop(6, 48), "decoder_pos_embed": table_by_loop(6, 32)}
    for name, tensor in model.state_dict().items():
        for ours, official in names.items():
            name = name.replace(ours, official)
        state[name] = tensor
    assert_same_reconstruction(loaded(MAEConfig(**SMALL), {"model": state}), theirs, torch.randn(2, 3, 96, 96))


def test_seen_patches_do_not_depend_on_hidden_ones() -> None:
    model = randomise(MAEConfig(**SMALL).build())
    pixels, noise = torch.randn(1, 3, 64, 96), torch.rand(1, 24)
    with torch.no_grad():
        output = model(pixels, noise)
        hidden = unpatchify(output.mask.unsqueeze(2).expand(-1, -1, 768).contiguous(), (4, 6), (16, 16))
        assert torch.allclose(model(pixels + 9 * hidden, noise).patches, output.patches)
    assert torch.equal(unpatchify(patchify(pixels, (16, 16)), (4, 6), (16, 16)), pixels)
    assert output.mask.sum() == 18


@pytest.mark.parametrize("size", [(64, 64), (48, 96)])
def test_fine_tuned_with_the_mean_over_patches(size: tuple[int, int]) -> None:
    small: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}
    theirs = randomise(timm.create_model("vit_base_patch16_224", img_size=size, global_pool="avg", **small))
    assert_same(loaded(ViTConfig(image_size=size, pool="mean", **small), theirs), theirs, torch.randn(2, 3, *size))
