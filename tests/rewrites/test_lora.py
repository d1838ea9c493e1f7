"""Low-rank updates: the weight they give, what is trained, merging, saving, fused projections."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import vitrail
from tests.evaluation.small_checkpoint import tiny_checkpoint, write_classes
from vitrail.errors import VitrailError
from vitrail.rewrites.lora import LoRA, LowRank, lora_parameters
from vitrail.rewrites.registry import merge_lora
from vitrail.training.recipe import Recipe

PIXELS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def updated(**options) -> nn.Module:
    model = vitrail.rewrite(tiny_checkpoint().model, LoRA(rank=2, **options))
    for param in lora_parameters(model):
        nn.init.normal_(param, std=0.5)
    return model


@torch.no_grad()
def test_outputs_are_those_of_weights_with_the_product_added(seeded):
    before = tiny_checkpoint().model
    after = vitrail.rewrite(before, LoRA(rank=2, alpha=6.0))
    torch.testing.assert_close(after(PIXELS), before(PIXELS), atol=0, rtol=0)
    for param in lora_parameters(after):
        nn.init.normal_(param, std=0.5)
    for name, module in after.named_modules():
        if isinstance(module, LowRank):
            layer = before.get_submodule(name.removesuffix(".parametrizations.weight.0"))
            rows = layer.weight.shape[0] // len(module.up)
            for part, (up, down) in enumerate(zip(module.up, module.down, strict=True)):
                layer.weight[part * rows : (part + 1) * rows] += 3.0 * up @ down
    torch.testing.assert_close(after(PIXELS), before(PIXELS), atol=1e-5, rtol=1e-4)
    fused = after.encoder.blocks[0].attention.branch.qkv.parametrizations.weight[0]
    assert fused.up.shape == (3, 16, 2)


@torch.no_grad()
def test_merging_gives_the_same_outputs_and_a_plain_model(tmp_path, seeded):
    model = updated()
    merged = merge_lora(model)
    assert torch.equal(merged(PIXELS), model(PIXELS))
    assert merged.rewrites == ()
    assert merged.state_dict().keys() == tiny_checkpoint().model.state_dict().keys()
    assert merge_lora(merged) is merged
    exported = vitrail.export_state_dict(model, "timm")
    again = tiny_checkpoint().model
    again.load_state_dict(vitrail.convert_state_dict(exported, again))
    assert torch.equal(again(PIXELS), model(PIXELS))


@torch.no_grad()
def test_a_checkpoint_keeps_the_updates(tmp_path, seeded):
    model = updated(layers=("*.qkv",))
    vitrail.save(replace(tiny_checkpoint(), model=model), tmp_path / "saved")
    loaded = vitrail.load(tmp_path / "saved").model
    assert loaded.rewrites == (LoRA(rank=2, layers=("*.qkv",)),)
    assert torch.equal(loaded(PIXELS), model(PIXELS))
    vitrail.convert(tmp_path / "saved", tmp_path / "merged")
    merged = vitrail.load(tmp_path / "merged").model
    assert merged.rewrites == ()
    assert torch.equal(merged(PIXELS), model(PIXELS))


def test_only_updates_and_the_head_are_trained(tmp_path, seeded):
    vitrail.save(tiny_checkpoint(), tmp_path / "before")
    source = write_classes(tmp_path / "images", each=6)
    recipe = Recipe(lora=LoRA(rank=2), steps=3, batch_size=4, precision="float32", lr=0.3)
    run = vitrail.train(source, recipe, weights=tmp_path / "before", out=tmp_path / "run")
    before, after = tiny_checkpoint_state(tmp_path / "before"), run.checkpoint.model.state_dict()
    for name, tensor in before.items():
        now = after.get(name.replace(".weight", ".parametrizations.weight.original"), after.get(name))
        assert torch.equal(now, tensor) == (not name.startswith("head.")), name
    assert all(param.abs().sum() > 0 for param in lora_parameters(run.checkpoint.model))
    again = vitrail.resume(run.path)
    assert again.metrics == run.metrics
    more = vitrail.train(source, Recipe(steps=1, batch_size=4), weights=run.path, out=tmp_path / "more")
    assert more.checkpoint.model.rewrites == (), "fine-tuning all weights starts from the merged ones"


def tiny_checkpoint_state(path):
    return vitrail.load(path).model.state_dict()


def test_invalid_options_are_sentences():
    model = tiny_checkpoint().model
    with pytest.raises(VitrailError, match="matches no linear layer"):
        vitrail.rewrite(model, LoRA(layers=("nothing.*",)))
    with pytest.raises(VitrailError, match="low-rank updates already"):
        vitrail.rewrite(vitrail.rewrite(model, LoRA()), LoRA())
    with pytest.raises(VitrailError, match=r"lora.rank is 0"):
        LoRA(rank=0)
