"""What a model gives in one call, and what the flat face of `vitrail.nn` holds."""

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import vitrail.nn
from vitrail import create_model
from vitrail.errors import VitrailError
from vitrail.nn import (
    AxialAttention,
    LinearAttention,
    LocalAttention,
    MultiHeadAttention,
    NeighbourhoodAttention,
    RelativePositionAttention,
    SparseAttention,
    TaskOutputs,
    Tokens,
    VisionModel,
)

SMALL: dict[str, Any] = {"image_size": 64, "depth": 2, "embed_dim": 48, "num_heads": 3}
LEVELS = {"image_size": 64, "embed_dims": (8, 16, 24, 32), "num_heads": (1, 2, 3, 4), "depths": (1, 1, 1, 1)}


def first(tokens: Tokens) -> Tensor:
    return tokens.x[:, 0]


def both(tokens: Tokens) -> Tensor:
    return (tokens.x[:, 0] + tokens.x[:, 1]) / 2


def mean(tokens: Tokens) -> Tensor:
    return tokens.x[:, tokens.prefix :].mean(dim=1)


def last(levels: tuple[Tokens, ...]) -> Tensor:
    return mean(levels[-1])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("vit_tiny_patch16_224", {**SMALL, "num_classes": 5}, first),
        ("deit_tiny_distilled_patch16_224", {**SMALL, "num_classes": 5}, both),
        ("compact_tiny_16", {"depth": 2, "num_classes": 5}, mean),
        ("universal_vit_tiny_patch16_224", {**SMALL, "decoder_depth": 1, "dense_dim": 8}, first),
        ("segformer_b0", {**LEVELS, "decoder_dim": 16, "num_classes": 5}, last),
    ],
)
def test_one_call_gives_output_embedding_and_tokens(name: str, options: dict[str, Any], expected: Any) -> None:
    model = create_model(name, **options).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, logits, tokens = model.forward_all(pixels), model(pixels), model.forward_features(pixels)
        assert torch.equal(found.embedding, model.embed_images(pixels))
    torch.testing.assert_close(found.embedding, expected(tokens))
    mine, theirs = (
        torch.utils._pytree.tree_leaves((found.logits, found.tokens)),
        torch.utils._pytree.tree_leaves((logits, tokens)),
    )
    assert all(torch.equal(one, other) for one, other in zip(mine, theirs, strict=True))


def test_the_classifier_on_the_embedding_gives_the_logits() -> None:
    model = create_model("beit_base_patch16_224", **SMALL, num_classes=5).eval()
    found = model.forward_all(torch.randn(2, 3, 64, 64))
    assert found.embedding.shape == (2, 48)
    torch.testing.assert_close(model.head.classify(found.embedding), found.logits)


def test_embeddings_of_masked_and_packed_models() -> None:
    pixels = torch.zeros(2, 3, 64, 64)
    pixels[0, :, :16, :16] = torch.randn(3, 16, 16)
    masked = create_model("beit_base_patch16_224_pretraining", **SMALL).eval()
    packed = create_model("adaptive_vit_tiny_patch16_224", **SMALL, patch_size=8).eval()
    with torch.no_grad():
        torch.testing.assert_close(masked.embed_images(pixels), mean(masked.forward_features(pixels)))
        alone = torch.cat([packed.forward_features(image[None]).x[:, 0] for image in pixels])
        torch.testing.assert_close(packed.embed_images(pixels), alone)


def test_one_task_of_several_shares_the_weights() -> None:
    model = create_model("universal_vit_tiny_patch16_224", **SMALL, decoder_depth=1, dense_dim=8).eval()
    depth, pixels = model.only("depth"), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        whole = model(pixels)
        assert isinstance(whole, TaskOutputs)
        assert torch.equal(depth(pixels), whole.depth)
    assert type(depth) is VisionModel
    assert depth.embed is model.embed
    assert {key: value.shape for key, value in depth.config.build().state_dict().items()} == {
        key: value.shape for key, value in depth.state_dict().items()
    }
    with pytest.raises(VitrailError, match=r"no head for 'dept'.*depth"):
        model.only("dept")


@pytest.mark.parametrize(
    "attention",
    [LinearAttention, SparseAttention, AxialAttention, NeighbourhoodAttention, RelativePositionAttention],
)
def test_attentions_work_with_their_defaults(attention: type[MultiHeadAttention]) -> None:
    branch = attention(32, 4).eval()
    for grid, prefix in (((4, 6), 1), ((9, 8), 0)):
        tokens = Tokens(torch.randn(2, prefix + grid[0] * grid[1], 32), grid, prefix)
        out = branch(tokens)
        assert (out.x.shape, out.grid, out.prefix) == (tokens.x.shape, grid, prefix)
        alone = branch(Tokens(tokens.x[1:], grid, prefix))
        torch.testing.assert_close(alone.x, out.x[1:], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(out.x[0], out.x[1], atol=1e-3)
    branch.load_state_dict(MultiHeadAttention(32, 4).state_dict(), strict=attention is not RelativePositionAttention)


def test_local_attention_takes_the_attention_inside_its_windows() -> None:
    tokens = Tokens(torch.randn(2, 24, 32), (4, 6))
    branch, inside = LocalAttention(MultiHeadAttention(32, 4)), MultiHeadAttention(32, 4)
    assert branch.window == (7, 7)
    assert branch(tokens).x.shape == tokens.x.shape
    whole = LocalAttention(inside, (4, 6))
    torch.testing.assert_close(whole(tokens).x, inside(tokens).x)


def test_every_public_class_and_function_is_on_the_flat_face() -> None:
    assert len(set(vitrail.nn.__all__)) == len(vitrail.nn.__all__)
    defined: dict[str, list[str]] = {}
    for file in sorted(Path(vitrail.nn.__file__).parent.rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, []).append(file.name)
    assert {name: files for name, files in defined.items() if len(files) > 1} == {}
    classes = {name for name, value in vars(vitrail.nn).items() if isinstance(value, type)}
    assert classes <= set(vitrail.nn.__all__)
    missing = [name for name in defined if name[0].isupper() and name not in vitrail.nn.__all__]
    assert missing == []
