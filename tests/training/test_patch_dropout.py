"""Patch dropout trains on a part of the patches and changes nothing else."""

import copy

import pytest
import torch

from vitrail.errors import VitrailError
from vitrail.models.registry import model_config, override
from vitrail.nn import PatchDropout, Tokens
from vitrail.rewrites.lora import LoRA
from vitrail.rewrites.registry import rewrite
from vitrail.training.optimizer import freeze_for_lora, train_mode
from vitrail.training.patch_dropout import add_patch_dropout

SMALL = {"image_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}


def test_the_output_is_that_of_the_patches_that_are_kept() -> None:
    plain = override(model_config("vit_tiny_patch16_224"), SMALL, "vit").build().train()
    model = copy.deepcopy(plain)
    add_patch_dropout(model, 0.4)
    assert list(model.state_dict()) == list(plain.state_dict())
    pixels = torch.randn(5, 3, 32, 32)
    torch.manual_seed(7)
    found = model(pixels)
    torch.manual_seed(7)
    order = torch.rand(5, 16).argsort(dim=1)[:, :9]
    x = plain.embed(pixels).x
    seen = torch.stack([torch.cat([image[:1], image[1 + kept]]) for image, kept in zip(x, order, strict=True)])
    wanted = plain.head(plain.encoder(Tokens(seen, (4, 4), prefix=1)))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(model.eval()(pixels), plain.eval()(pixels))


def test_at_least_one_patch_stays() -> None:
    tokens = Tokens(torch.randn(2, 5, 4), (2, 2), prefix=1)
    assert PatchDropout(0.9)(tokens).x.shape == (2, 2, 4)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "beit_base_patch16_224", "resnet18"])
def test_models_that_need_all_patches_refuse(name: str) -> None:
    with torch.device("meta"):
        model = model_config(name).build()
    with pytest.raises(VitrailError, match="patch_dropout=0, or choose a model with a plain encoder"):
        add_patch_dropout(model, 0.5)


def test_it_works_behind_a_frozen_embedding_and_with_low_rank_updates() -> None:
    model = override(model_config("vit_tiny_patch16_224"), SMALL, "vit").build()
    model = rewrite(model, LoRA(rank=2))
    add_patch_dropout(model, 0.5)
    freeze_for_lora(model)
    train_mode(model)
    assert not model.embed.training
    assert model.encoder(model.embed(torch.randn(2, 3, 32, 32))).x.shape == (2, 1 + 8, 16)
