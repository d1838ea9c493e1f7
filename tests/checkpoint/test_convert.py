"""The rename tables: they invert, and everything is accounted for."""

import pytest
import torch

import vitrail
from vitrail.checkpoint.convert import LAYOUTS, convert_state_dict, official, recognise, timm, torchvision, transformers
from vitrail.checkpoint.convert.rename import Layout, to_ours, to_theirs
from vitrail.errors import VitrailError
from vitrail.models.deit import DistilledDeiTConfig
from vitrail.models.vit import ViTConfig
from vitrail.nn import BaseVisionModel

SMALL = {"image_size": 32, "embed_dim": 32, "depth": 11, "num_heads": 4, "num_classes": 5}


def model_for(layout: Layout) -> BaseVisionModel:
    """A model with exactly the tensors that a layout has names for."""
    ours = {rule.ours for rule in layout.rules}
    if "head.distill.{p}" in ours:
        return DistilledDeiTConfig(**SMALL).build()
    if any("embeddings.distillation_token" in rule.theirs for rule in layout.rules):
        return DistilledDeiTConfig(**SMALL, distilled_head=False).build()
    scaled = "encoder.blocks.{i}.mlp.scale.weight" in ours
    return ViTConfig(**SMALL, layer_scale=0.1 if scaled else None).build()


# Those of ViT and DeiT; the tables of other families invert in tests/parity, beside their references.
PLAIN = (*timm.LAYOUTS, *transformers.LAYOUTS, *torchvision.LAYOUTS, *official.LAYOUTS)


@pytest.mark.parametrize("layout", PLAIN, ids=lambda layout: layout.name)
def test_tables_invert(layout: Layout) -> None:
    model = model_for(layout)
    state = {name: torch.randn(tensor.shape) for name, tensor in model.state_dict().items()}
    theirs = to_theirs(state, layout, num_heads=4)
    assert recognise(theirs) is layout
    again = to_ours(theirs, layout)
    assert (again.incomplete, again.unexpected, again.unused) == ((), (), ())
    assert again.state.keys() == state.keys()
    assert all(torch.equal(again.state[name], state[name]) for name in state)
    converted = convert_state_dict(theirs, model)
    assert list(converted) == list(model.state_dict())
    back = to_theirs(again.state, layout, num_heads=4)
    assert all(torch.equal(back[name], theirs[name]) for name in theirs)
    assert back.keys() == theirs.keys()


def small_timm() -> tuple[BaseVisionModel, dict[str, torch.Tensor]]:
    model = vitrail.create_model("vit_tiny_patch16_224", depth=1, num_classes=5)
    return model, to_theirs(model.state_dict(), LAYOUTS[0], num_heads=3)


def test_our_own_names_pass() -> None:
    model, _ = small_timm()
    assert convert_state_dict(model.state_dict(), model).keys() == model.state_dict().keys()


@pytest.mark.parametrize("prefix", ["vit.", ""])
def test_transformers_prefix_and_pooler_are_understood(prefix: str) -> None:
    model, _ = small_timm()
    layout = next(layout for layout in LAYOUTS if "ViT (files)" in layout.name)
    theirs = {
        name if name.startswith("classifier") else prefix + name: tensor
        for name, tensor in to_theirs(model.state_dict(), layout, num_heads=3).items()
    }
    theirs[f"{prefix}pooler.dense.weight"] = torch.zeros(192, 192)
    converted = convert_state_dict(theirs, model)
    assert all(torch.equal(converted[name], tensor) for name, tensor in model.state_dict().items())


def test_what_is_missing_is_listed_under_its_name() -> None:
    model, theirs = small_timm()
    del theirs["blocks.0.attn.qkv.bias"], theirs["cls_token"]
    with pytest.raises(VitrailError, match=r"missing: cls_token, blocks\.0\.attn\.qkv\.bias"):
        convert_state_dict(theirs, model)


def test_a_part_that_is_missing_is_listed() -> None:
    model, _ = small_timm()
    layout = next(layout for layout in LAYOUTS if "ViT (files)" in layout.name)
    theirs = to_theirs(model.state_dict(), layout, num_heads=3)
    del theirs["encoder.layer.0.attention.attention.key.bias"]
    with pytest.raises(VitrailError, match=r"missing: encoder\.layer\.0\.attention\.attention\.key\.bias$"):
        convert_state_dict(theirs, model)


def test_what_is_unexpected_is_listed() -> None:
    model, theirs = small_timm()
    theirs["reg_token"] = torch.zeros(1, 4, 192)
    theirs["blocks.1.norm1.weight"] = torch.zeros(192)
    with pytest.raises(VitrailError, match=r"unexpected: reg_token, blocks\.1\.norm1\.weight"):
        convert_state_dict(theirs, model)


def test_a_wrong_shape_is_listed() -> None:
    model, theirs = small_timm()
    theirs["head.weight"] = torch.zeros(7, 192)
    with pytest.raises(VitrailError, match=r"of a wrong shape: head\.classify\.weight \(7, 192\) for \(5, 192\)"):
        convert_state_dict(theirs, model)


def test_an_unknown_layout_is_said() -> None:
    model, _ = small_timm()
    with pytest.raises(VitrailError, match=r"no known layout \(rotor\.weight"):
        convert_state_dict({"rotor.weight": torch.zeros(1)}, model)
    with pytest.raises(VitrailError, match="no known layout"):
        convert_state_dict({}, model)
