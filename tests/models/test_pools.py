"""Pools and heads of ViT by name, against what they are by definition."""

from pathlib import Path

import pytest
import torch

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.nn import BaseVisionModel

SMALL = {"image_size": 32, "embed_dim": 24, "depth": 1, "num_heads": 3, "num_classes": 5}


def pooled(model: BaseVisionModel, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens after the encoder, (B, N, D); what the classifier gets)."""
    given: list[torch.Tensor] = []
    model.head.classify.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    with torch.no_grad():
        tokens = model.forward_features(pixels).x
        model(pixels)
    return tokens, given[0]


@pytest.mark.parametrize("pool", ["class", "both", "attention", "multi_head"])
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_pools_by_definition(pool: str, head: str, tmp_path: Path) -> None:
    model = vitrail.create_model("vit_tiny_patch16_224", **SMALL, pool=pool, head=head).double().eval()
    pixels = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    x, found = pooled(model, pixels)
    state = {name.removeprefix("head.pool."): tensor for name, tensor in model.state_dict().items()}
    if pool == "class":
        expected = x[:, 0]
    elif pool == "both":
        expected = torch.cat([x[:, 0], x[:, 1:].mean(dim=1)], dim=1)
    elif pool == "attention":
        weights = (x @ state["score.weight"][0] + state["score.bias"]).softmax(dim=1)
        expected = torch.einsum("bn,bnd->bd", weights, x)
    else:
        q, k, v = (
            (source @ state[f"attention.{part}.weight"].T + state[f"attention.{part}.bias"]).unflatten(2, (3, 8))
            for part, source in (("q", state["query"].expand(2, 1, 24)), ("k", x), ("v", x))
        )
        weights = (torch.einsum("bqhd,bnhd->bhqn", q, k) / 8**0.5).softmax(dim=-1)
        heads = torch.einsum("bhqn,bnhd->bqhd", weights, v).flatten(2)
        looked = (heads @ state["attention.project.weight"].T + state["attention.project.bias"])[:, 0]
        normed = torch.nn.functional.layer_norm(
            looked, (24,), state["refine.norm.weight"], state["refine.norm.bias"], eps=1e-6
        )
        hidden = torch.nn.functional.gelu(
            normed @ state["refine.branch.expand.weight"].T + state["refine.branch.expand.bias"]
        )
        expected = looked + hidden @ state["refine.branch.contract.weight"].T + state["refine.branch.contract.bias"]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    save(Checkpoint(model, (), Preprocess(image_size=(32, 32))), tmp_path / "x")
    again = load(tmp_path / "x").model.double()(pixels)
    torch.testing.assert_close(again, model(pixels), rtol=1e-5, atol=1e-6, msg="stored numbers are read as float32")
    assert load(tmp_path / "x", num_classes=2).model.double()(pixels).shape == (2, 2)


def test_the_mlp_head_by_definition() -> None:
    model = vitrail.create_model("vit_tiny_patch16_224", **SMALL, head="mlp").eval()
    pixels = torch.randn(2, 3, 32, 32)
    _, found = pooled(model, pixels)
    head = model.head.classify
    with torch.no_grad():
        hidden = (found @ head.expand.weight.T + head.expand.bias).tanh()
        expected = hidden @ head.classify.weight.T + head.classify.bias
        torch.testing.assert_close(model(pixels), expected)


@pytest.mark.parametrize(("field", "word", "right"), [("pool", "clas", "class"), ("head", "linaer", "linear")])
def test_a_misspelt_word(field: str, word: str, right: str) -> None:
    with pytest.raises(VitrailError, match=f"'{word}'.* did you mean {right}"):
        vitrail.create_model("vit_tiny_patch16_224", **SMALL, **{field: word})
