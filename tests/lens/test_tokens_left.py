"""What `explain` shows of models that remove or merge tokens."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from vitrail.errors import VitrailError
from vitrail.lens.attribution.methods import METHODS
from vitrail.lens.draw import attention_maps
from vitrail.lens.explanation import explain_image
from vitrail.lens.measures import attention_distance
from vitrail.lens.observe import observe_attention
from vitrail.lens.sheet import write_sheet
from vitrail.rewrites.registry import rewrite
from vitrail.rewrites.tokens import FuseTokens, MergeTokens, PruneTokens

from .explorer.small import picture, vit


def test_the_tokens_that_are_left_after_each_block(tmp_path: Path) -> None:
    whole = vit()
    model = rewrite(whole.model, MergeTokens(r=3))
    found = explain_image(replace(whole, model=model), "a", picture())
    with observe_attention(model) as seen, torch.inference_mode():
        tokens = model.forward_features(whole.pixels(picture()))
    assert [(left.layer, left.count) for left in found.tokens] == [(1, 13), (2, 10), (3, 7)]
    for left, layer in zip(found.tokens, (1, 2), strict=False):
        assert torch.equal(left.cover, seen.layout(layer).key_cover[0])
    assert torch.equal(found.tokens[2].cover, tokens.cover[0])
    # The attention to a merged token is divided among its cells.
    weights, cover = seen[2][0, :, 0, 1:], found.tokens[1].cover
    for row, column in torch.ones(4, 4).nonzero().tolist():
        token = cover[row, column]
        expected = weights[:, token] / (cover == token).sum()
        torch.testing.assert_close(found.maps[2][:, row, column], expected)
    with observe_attention(model, rows="prefix") as prefix, torch.inference_mode():
        model(whole.pixels(picture()))
    torch.testing.assert_close(attention_maps(prefix, 2)[0], found.maps[2])
    assert explain_image(whole, "a", picture()).tokens == ()
    assert explain_image(replace(whole, model=rewrite(whole.model, PruneTokens(1.0))), "a", picture()).tokens == ()
    write_sheet(found, tmp_path / "a.png")
    write_sheet(replace(found, tokens=()), tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as more, Image.open(tmp_path / "b.png") as fewer:
        assert more.size[1] > fewer.size[1]


def test_distances_are_between_the_middles_of_tokens() -> None:
    whole = vit()
    model = rewrite(whole.model, MergeTokens(r=3))
    with observe_attention(model) as seen, torch.inference_mode():
        model(whole.pixels(picture()))
    found, cover = attention_distance(seen[2], seen.layout(2))[0], seen.layout(2).key_cover[0]
    middles = torch.stack([(cover == token).nonzero().float().mean(dim=0) for token in range(10)])
    weights = seen[2][0, :, 1:, 1:]
    weights = weights / weights.sum(-1, keepdim=True)
    far = [[float((middles[q] - middles[k]).norm()) for k in range(10)] for q in range(10)]
    torch.testing.assert_close(found, (weights * torch.tensor(far)).sum(-1).mean(-1))


def test_methods_give_maps_or_a_reason() -> None:
    whole = vit()
    pixels, target = whole.pixels(picture()), torch.tensor([1])
    for change in (MergeTokens(r=3), FuseTokens(keep=0.5)):
        model = rewrite(whole.model, change)
        for name in ("grad_cam", "attention", "input_gradient", "occlusion"):
            assert METHODS[name](model, pixels, target).shape == (1, 4, 4)
        for name in ("rollout", "generic", "flow", "perception"):
            with pytest.raises(VitrailError, match="some are merged or removed in between"):
                METHODS[name](model, pixels, target)
    same = rewrite(whole.model, PruneTokens(keep=1.0))
    for name in ("rollout", "perception"):
        torch.testing.assert_close(METHODS[name](same, pixels, target), METHODS[name](whole.model, pixels, target))
