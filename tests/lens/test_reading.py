"""The tokens that a head reads, against those whose change changes its output; and all that follows from them."""

import pytest
import torch
from torch import Tensor, nn

from vitrail.lens.attention_maps import last_layer_map
from vitrail.lens.attribution.layers import encoder_layers, reading
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.explanation import explain_image
from vitrail.lens.explorer.data import look
from vitrail.lens.observe import observe_attention
from vitrail.lens.reading import head_reading, prefix_names, stated_reading
from vitrail.nn import MeanPool, NamesPrefix, Tokens, TokensRead

from .explorer.small import picture, vit, watched

SHAPE = {"embed_dim": 24, "num_heads": 2, "depth": 2}
FAMILIES = {
    "class token": lambda: vit(),
    "mean of patches": lambda: vit(pool="mean"),
    "no prefix": lambda: vit(name="simple_vit_tiny_patch16_224"),
    "both": lambda: vit(pool="both"),
    "two tokens": lambda: vit(name="deit_tiny_distilled_patch16_224"),
    "BEiT": lambda: vit(name="beit_base_patch16_224"),
    "SigLIP": lambda: watched("vit_base_patch16_siglip_224", patch_size=8, **SHAPE),
    "weighted pool": lambda: vit(pool="attention"),
    "multi-head pool": lambda: vit(pool="multi_head"),
    "registers": lambda: watched("vit_small_patch14_reg4_dinov2", image_size=42, **SHAPE),
    "CLIP": lambda: watched("vit_base_patch32_clip_224", patch_size=8, **SHAPE),
    "Swin": lambda: watched("swin_tiny_patch4_window7_224", embed_dim=8, depths=(1, 1), num_heads=(1, 2)),
    "CaiT": lambda: watched("cait_xxs24_224", patch_size=8, depth=1, embed_dim=24, num_heads=2),
    "LeViT": lambda: watched("levit_128s", image_size=64, depths=(1, 1, 1)),
    "ConvNeXt": lambda: watched("convnext_tiny", depths=(1, 1, 1, 1), embed_dim=8),
}


def pixels_of(subject: object) -> Tensor:
    return subject.pixels(picture(size=subject.preprocess.image_size))


def differs(head: nn.Module, tokens: Tokens, number: int) -> bool:
    """Whether the head's output changes with one token."""
    changed = tokens.x.clone()
    changed[:, number] += torch.randn(tokens.x.shape[2], generator=torch.Generator().manual_seed(number))
    leaves = zip(*(torch.utils._pytree.tree_leaves(head(one)) for one in (tokens, tokens.with_x(changed))), strict=True)
    return any(not torch.equal(before, after) for before, after in leaves)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_states_the_tokens_on_which_its_output_depends(family: str) -> None:
    subject = FAMILIES[family]()
    with torch.no_grad():
        tokens = subject.model.forward_features(pixels_of(subject))
        found = [differs(subject.model.head, tokens, number) for number in range(tokens.x.shape[1])]
    reads = stated_reading(subject.model)
    assert reads is not None
    assert reads.weighted == (family in ("SigLIP", "weighted pool", "multi-head pool"))
    stated = range(tokens.prefix) if reads.weighted else reads.prefix
    assert list(stated) == [number for number in range(tokens.prefix) if found[number]]
    assert set(found[tokens.prefix :]) == {reads.patches}


def expected_rows(weights: Tensor, family: str) -> Tensor:
    """Where the tokens that the head reads look, (B, h, M), written out."""
    rows = {
        "class token": lambda: weights[:, :, 0],
        "mean of patches": lambda: weights[:, :, 1:].mean(2),
        "BEiT": lambda: weights[:, :, 1:].mean(2),
        "no prefix": lambda: weights.mean(2),
        "two tokens": lambda: (weights[:, :, 0] + weights[:, :, 1]) / 2,
        "both": lambda: (weights[:, :, 0] + weights[:, :, 1:].mean(2)) / 2,
        "SigLIP": lambda: weights[:, :, 0],
    }
    return rows[family]()


WORDS = {
    "class token": "Attention of the class token",
    "mean of patches": "Attention that each patch receives",
    "BEiT": "Attention that each patch receives",
    "no prefix": "Attention that each patch receives",
    "two tokens": "Attention of the class token and the distillation token",
    "both": "Attention of the class token and the patches",
    "SigLIP": "Attention that each patch receives, at the end from the pool",
}


@pytest.mark.parametrize("family", WORDS)
def test_maps_rollout_and_pages_are_those_of_the_tokens_that_the_head_reads(family: str) -> None:
    subject = FAMILIES[family]()
    pixels, image = pixels_of(subject), picture(size=subject.preprocess.image_size)
    with observe_attention(subject.model) as seen, torch.no_grad():
        subject.model(pixels)
    prefix = seen.layout(0).prefix
    last = expected_rows(seen[-1], family)[..., prefix:].unflatten(-1, (4, 4))
    torch.testing.assert_close(last_layer_map(subject.model, pixels), last.mean(1))
    torch.testing.assert_close(METHODS["attention"](subject.model, pixels), last.mean(1))
    layers = encoder_layers(subject.model)
    total = torch.eye(16 + prefix)[None]
    for layer in layers:
        total = (seen[layer].mean(1) + torch.eye(16 + prefix)) / 2 @ total
    pooled = seen[-1].mean(1) @ total if family == "SigLIP" else expected_rows(total.unsqueeze(1), family)
    rolled = pooled[..., prefix:].reshape(4, 4)
    torch.testing.assert_close(METHODS["rollout"](subject.model, pixels)[0], rolled)
    explanation = explain_image(subject, "x", image)
    torch.testing.assert_close(explanation.maps[-1], last[0])
    assert explanation.flow is not None
    torch.testing.assert_close(explanation.flow, rolled)
    assert explanation.what == WORDS[family]
    assert look(subject, image).reads == head_reading(subject.model)


def test_pool_weights_are_the_shares_of_the_tokens() -> None:
    subject = FAMILIES["weighted pool"]()
    with torch.no_grad():
        tokens = subject.model.forward_features(pixels_of(subject))
        pool = subject.model.head.pool
        scores = pool.score(tokens.x).squeeze(2)
        torch.testing.assert_close(reading(subject.model, tokens), scores.softmax(-1))


def test_a_head_that_states_nothing_is_asked_for_its_gradient() -> None:
    class SecondToken(nn.Module):
        def forward(self, tokens: Tokens) -> Tensor:
            return tokens.x[:, 1]

    subject = vit()
    subject.model.head.pool = SecondToken()
    assert stated_reading(subject.model) is None
    with torch.no_grad():
        tokens = subject.model.forward_features(pixels_of(subject))
        assert reading(subject.model, tokens).tolist() == [[0, 1, *[0] * 15]]


def test_a_late_class_token_and_heads_of_others() -> None:
    assert TokensRead((0,)).within(0) == TokensRead(patches=True)
    assert TokensRead((0, 1)).within(1) == TokensRead((0,))
    assert TokensRead((0,), patches=True).shares(2, 4, torch.zeros(1)).tolist() == [0.5, 0, *[0.125] * 4]

    class Named(nn.Module):
        def names_after(self, names: tuple[str, ...]) -> tuple[str, ...]:
            return (*names, "prompt")

    assert isinstance(Named(), NamesPrefix)
    assert prefix_names(nn.Sequential(vit().model, Named()), 3) == ("class token", "prompt", "prefix token 3")
    assert stated_reading(nn.Linear(2, 2)) is None
    assert head_reading(nn.Sequential(nn.Linear(2, 2), MeanPool())) == TokensRead(patches=True)
