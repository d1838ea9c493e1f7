"""BEiT and BEiT v2 against timm and transformers."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.models.beit import Beit
from torch import nn

import vitrail
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.beit import VARIANTS, BEiTConfig, MaskedBEiTConfig
from vitrail.models.registry import model_config
from vitrail.nn import resample_offsets
from vitrail.nn.masking import unpatchify

from .references import assert_same, assert_same_inside, both_dtypes, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 9}


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.endswith("pretraining")])
def test_parameters_of_every_row(name: str) -> None:
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(on_meta(lambda: timm.create_model(name)))


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "beitv2_base_patch16_224"])
@pytest.mark.parametrize("size", [(64, 64), (80, 48), (16, 112)])
def test_timm_at_any_size(name: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(name, img_size=size, **SMALL))
    assert_same(loaded(model_config(name, image_size=size, **SMALL), theirs), theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_timm_with_any_channels(channels: int) -> None:
    theirs = randomise(timm.create_model("beit_base_patch16_224", img_size=64, in_chans=channels, **SMALL))
    config = BEiTConfig(image_size=64, in_channels=channels, **SMALL)
    assert_same(loaded(config, theirs), theirs, torch.randn(1, channels, 64, 64))


def test_every_block() -> None:
    theirs = randomise(timm.create_model("beit_base_patch16_224", img_size=96, **{**SMALL, "depth": 4}))
    ours = loaded(BEiTConfig(image_size=96, **{**SMALL, "depth": 4}), theirs)
    pairs = {f"encoder.blocks.{i}": f"blocks.{i}" for i in range(4)}
    assert_same_inside(ours, theirs, pairs, torch.randn(1, 3, 96, 96))


def test_transformers(tmp_path: Path) -> None:
    card = transformers.BeitConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=192,
        image_size=64,
        num_labels=9,
        use_relative_position_bias=True,
    )
    theirs = randomise(transformers.BeitForImageClassification(card))
    config = BEiTConfig(image_size=64, norm_eps=1e-12, **SMALL)
    for size in [(64, 64), (96, 48)]:  # the second resamples the tables
        assert_same(loaded(config, theirs.float()), theirs, torch.randn(2, 3, *size))
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    assert_same(vitrail.load(tmp_path).model, theirs, torch.randn(2, 3, 64, 64))


PRETRAINING: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 192,
    "image_size": 64,
    "vocab_size": 30,
    "use_mask_token": True,
    "use_shared_relative_position_bias": True,
}
MASKED: dict[str, Any] = {**SMALL, "image_size": 64, "num_classes": 30, "norm_eps": 1e-12}


def assert_same_masked(
    ours: nn.Module, theirs: nn.Module, size: tuple[int, int], channels: int = 3, double: float = 1e-10
) -> None:
    pixels, mask = torch.randn(2, channels, *size), torch.rand(2, size[0] // 16 * (size[1] // 16)) < 0.4
    for dtype, tolerance in both_dtypes(double):
        with torch.no_grad():
            for hidden in (mask, None):
                output = ours.to(dtype)(pixels.to(dtype), hidden)
                expected = theirs.to(dtype)(pixels.to(dtype), bool_masked_pos=hidden).logits
                assert expected.std() > 0.05
                assert output.shape == expected.shape
                assert (output - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("name", ["beit_base_patch16_224_pretraining", "beit_large_patch16_224_pretraining"])
def test_parameters_of_the_pretraining(name: str) -> None:
    row = VARIANTS[name]
    card = transformers.BeitConfig(
        hidden_size=row.embed_dim,
        num_hidden_layers=row.depth,
        num_attention_heads=row.num_heads,
        intermediate_size=4 * row.embed_dim,
        use_mask_token=True,
        use_shared_relative_position_bias=True,
    )
    theirs = on_meta(lambda: transformers.BeitForMaskedImageModeling(card))
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(theirs)


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_pretraining(tmp_path: Path, positions: bool, channels: int) -> None:
    card = transformers.BeitConfig(num_channels=channels, use_absolute_position_embeddings=positions, **PRETRAINING)
    theirs = randomise(transformers.BeitForMaskedImageModeling(card))
    config = MaskedBEiTConfig(absolute_positions=positions, in_channels=channels, **MASKED)
    assert_same_masked(loaded(config, theirs.float()), theirs, (64, 64), channels)
    # Another grid resamples the tables; ours does so in float32 where positions are absolute.
    double = 1e-5 if positions else 1e-10
    assert_same_masked(loaded(config, theirs.float()), theirs, (96, 48), channels, double)
    theirs.float().save_pretrained(tmp_path)  # under the names of the files on the hub
    read = vitrail.load(tmp_path)
    assert read.model.config == config
    assert read.preprocess.mean == (0.5,) * channels
    assert_same_masked(read.model, theirs, (64, 64), channels)


def test_every_block_of_the_pretraining() -> None:
    card = transformers.BeitConfig(**{**PRETRAINING, "num_hidden_layers": 4})
    theirs = randomise(transformers.BeitForMaskedImageModeling(card))
    ours = loaded(MaskedBEiTConfig(**{**MASKED, "depth": 4}), theirs)
    pairs = {f"encoder.blocks.{i}": f"beit.layers.{i}" for i in range(4)}
    assert_same_inside(ours, theirs, pairs, torch.randn(1, 3, 64, 64), torch.rand(1, 16) < 0.4)


@pytest.mark.parametrize("positions", [False, True])
def test_official_names_of_the_pretraining(positions: bool) -> None:
    """timm's model has the official names, but for those of the mask and the head; it hides nothing."""
    tables = {"use_abs_pos_emb": positions, "use_rel_pos_bias": False, "use_shared_rel_pos_bias": True}
    sizes: dict[str, Any] = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}
    theirs = randomise(Beit(**sizes, **tables, init_values=0.1, global_pool="token"))
    state = theirs.state_dict() | {"mask_token": torch.randn(1, 1, 48)}
    state |= {"lm_head.weight": torch.randn(30, 48), "lm_head.bias": torch.randn(30)}
    ours = loaded(MaskedBEiTConfig(**{**MASKED, "norm_eps": 1e-6}, absolute_positions=positions), {"model": state})
    pixels = torch.randn(2, 3, 64, 64)
    for dtype, tolerance in both_dtypes():
        with torch.no_grad():
            seen = ours.to(dtype).forward_features(pixels.to(dtype)).x
            expected = theirs.to(dtype).forward_features(pixels.to(dtype))
        assert (seen - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


def test_what_is_hidden_is_not_seen() -> None:
    model = randomise(MaskedBEiTConfig(**MASKED).build())
    pixels, mask = torch.randn(1, 3, 64, 96), torch.rand(1, 24) < 0.4
    hidden = unpatchify(mask.unsqueeze(2).expand(-1, -1, 768).float(), (4, 6), (16, 16))
    with torch.no_grad():
        assert torch.equal(model(pixels * (1 - hidden), mask), model(pixels, mask))
        assert torch.equal(model(pixels, mask.float()), model(pixels, mask))
        assert not torch.allclose(model(pixels), model(pixels, mask))


def test_a_pretraining_is_resampled_and_keeps_its_head(tmp_path: Path) -> None:
    model = randomise(MaskedBEiTConfig(**MASKED).build())
    vitrail.save(vitrail.Checkpoint(model, (), Preprocess()), tmp_path / "x")
    pixels, mask = torch.randn(1, 3, 96, 96), torch.rand(1, 36) < 0.4
    with torch.no_grad():
        larger = vitrail.load(tmp_path / "x", image_size=96).model
        table = resample_offsets(model.encoder.bias.table, (4, 4), (6, 6))  # timm's, see test_swin_sizes
        assert torch.equal(larger.encoder.bias.table, table)
        assert larger(pixels, mask).shape == (1, 36, 30)


def test_other_pretrainings_are_refused(tmp_path: Path) -> None:
    card = transformers.BeitConfig(**{**PRETRAINING, "use_relative_position_bias": True})
    transformers.BeitForMaskedImageModeling(card).save_pretrained(tmp_path)
    with pytest.raises(VitrailError, match="use_relative_position_bias"):
        vitrail.load(tmp_path)


def test_bare_weights_of_a_pretraining_want_an_architecture(tmp_path: Path) -> None:
    theirs = transformers.BeitForMaskedImageModeling(transformers.BeitConfig(**PRETRAINING))
    save_file(theirs.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(VitrailError, match="pass architecture"):
        vitrail.load(tmp_path / "x.safetensors")


def test_drop_path_and_the_shared_table() -> None:
    model = MaskedBEiTConfig(**MASKED, drop_path=0.5).build()
    model(torch.randn(4, 3, 64, 64), torch.rand(4, 16) < 0.4).square().mean().backward()
    assert model.encoder.bias.table.grad.abs().sum() > 0
    assert sum("bias.table" in name for name in model.state_dict()) == 1
