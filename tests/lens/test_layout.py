"""Attention inside groups, spread over the picture: what the weights say must be what the module does."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from vitrail.errors import VitrailError
from vitrail.lens.layout import over_image, received
from vitrail.lens.observe import observe_attention
from vitrail.lens.rollout import class_token_map, rollout
from vitrail.models.registry import create_model
from vitrail.nn import (
    ClassAttention,
    CoarseQueries,
    ConvProjection,
    FrameAttention,
    LocalAttention,
    MultiHeadAttention,
    PooledReduction,
    ReducedProjection,
    RelativeBias,
    ShrinkingAttention,
    SpaceAttention,
    StridedReduction,
    TimeAttention,
    Tokens,
    numbers,
)

DIM, HEADS = 12, 3


class Holder(nn.Module):
    """A module inside another, as in a block."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tokens) -> Tokens:
        return self.inner(tokens)


def randomised(module: nn.Module) -> nn.Module:
    """All parameters random but biases of values, which would speak for padding too."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    for part in module.modules():
        if isinstance(part, MultiHeadAttention) and isinstance(part.qkv, nn.Linear):
            nn.init.zeros_(part.qkv.bias)
    return Holder(module).double().eval()


def tokens_of(grid: tuple[int, ...], prefix: int = 0) -> Tokens:
    count = prefix + torch.Size(grid).numel()
    x = torch.randn(2, count, DIM, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Tokens(x, grid, prefix)


def attended(weights: Tensor, attention: MultiHeadAttention, tokens: Tokens) -> Tensor:
    """The attention's answer from weights over the whole picture, (B, h, N, M): weights · values, projected."""
    values = attention.qkv(tokens)[2]
    return attention.project((weights @ values).transpose(1, 2).flatten(2))


def multi_head(**parts: nn.Module) -> MultiHeadAttention:
    return MultiHeadAttention(DIM, HEADS, **parts)


@pytest.mark.parametrize("shift", [(0, 0), (1, 2)])
@pytest.mark.parametrize("grid", [(6, 9), (5, 7)])
def test_windows(grid: tuple[int, int], shift: tuple[int, int]) -> None:
    inner = multi_head(bias=RelativeBias((3, 3), HEADS))
    local, tokens = randomised(LocalAttention(inner, (3, 3), shift)), tokens_of(grid)
    with observe_attention(local) as seen:
        out = local(tokens)
    assert seen[0].shape[0] > 2
    layout = seen.layout(0)
    assert (layout.grid, layout.prefix, layout.key_grid) == (grid, 0, grid)
    whole = over_image(seen[0], layout)
    torch.testing.assert_close(attended(whole, inner, tokens), out.x, rtol=0, atol=1e-12)
    torch.testing.assert_close(received(seen[0], layout), whole.mean(dim=2), rtol=0, atol=1e-12)
    rows = [0, 7, -1]
    with observe_attention(local, rows=rows, heads=[2, 0]) as some:
        local(tokens)
    torch.testing.assert_close(some[0], whole[:, [2, 0]][:, :, rows], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cut", [SpaceAttention, FrameAttention, TimeAttention])
def test_videos(cut: type[nn.Module]) -> None:
    frames, prefix = 3, 3 if cut is FrameAttention else 1
    inner = multi_head()
    module, tokens = randomised(cut(inner)), tokens_of((frames, 2, 4), prefix)
    with observe_attention(module) as seen:
        out = module(tokens)
    layout = seen.layout(0)
    whole = over_image(seen[0], layout)
    expected = attended(whole, inner, tokens)
    first = prefix if cut is TimeAttention else 0  # there the class token gets zeros
    torch.testing.assert_close(expected[:, first:], out.x[:, first:], rtol=0, atol=1e-12)
    with observe_attention(module, rows=[0, 5]) as some:
        module(tokens)
    torch.testing.assert_close(some[0], whole[:, :, [0, 5]], rtol=0, atol=1e-12)
    torch.testing.assert_close(received(seen[0], layout), whole[:, :, first:].mean(dim=2), rtol=0, atol=1e-12)


def test_queries_of_a_coarser_grid() -> None:
    qkv = CoarseQueries(DIM, HEADS, key_dim=4, value_dim=4)
    inner = multi_head(qkv=qkv)
    module, tokens = randomised(ShrinkingAttention(inner)), tokens_of((3, 5))
    with observe_attention(module) as seen:
        out = module(tokens)
    whole = over_image(seen[0], seen.layout(0))
    looking = numbers((3, 5), 0, torch.device("cpu"))[::2, ::2].flatten()
    torch.testing.assert_close(attended(whole, inner, tokens)[:, looking], out.x, rtol=0, atol=1e-12)


def test_class_attention_looks_from_the_prefix_only() -> None:
    module, tokens = randomised(ClassAttention(DIM, HEADS)), tokens_of((2, 3), prefix=1)
    with observe_attention(module, rows="prefix") as seen:
        module(tokens)
    assert seen[0].shape == (2, HEADS, 1, 7)
    assert (seen.layout(0).grid, seen.layout(0).prefix) == ((2, 3), 1)
    with observe_attention(module) as every:
        module(tokens)
    torch.testing.assert_close(every[0], seen[0], rtol=0, atol=1e-12)
    assert over_image(every[0], every.layout(0)).shape == (2, HEADS, 7, 7)


@pytest.mark.parametrize(
    ("qkv", "prefix", "key_grid"),
    [
        (partial(ReducedProjection, reduce=StridedReduction(DIM, 2)), 0, (2, 3)),
        (partial(ReducedProjection, reduce=PooledReduction(DIM, 2)), 0, (2, 2)),
        (partial(ConvProjection, stride=2), 1, (2, 4)),
        (partial(ConvProjection, stride=1), 1, (4, 7)),
        (ReducedProjection, 1, (4, 7)),
    ],
)
def test_reduced_keys_have_a_grid_of_their_own(qkv: partial, prefix: int, key_grid: tuple[int, int]) -> None:
    inner = multi_head(qkv=qkv(DIM, HEADS))
    module, tokens = randomised(inner), tokens_of((4, 7), prefix)
    with observe_attention(module) as seen:
        out = module(tokens)
    layout = seen.layout(0)
    assert (layout.grid, layout.prefix, layout.key_grid, layout.key_prefix) == ((4, 7), prefix, key_grid, prefix)
    torch.testing.assert_close(attended(seen[0], inner, tokens), out.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "fields", "grids"),
    [
        ("swin_tiny_patch4_window7_224", {"depths": (2, 2, 1, 1), "embed_dim": 24, "num_heads": (1, 2, 3, 6)}, 6),
        ("cvt_13_224", {"embed_dims": (12, 24, 48), "num_heads": (1, 2, 3)}, 13),
        ("pvt_v2_b0", {}, 8),
        ("levit_128s", {}, 11),
        ("cait_xxs24_224", {"depth": 2, "embed_dim": 48, "num_heads": 4}, 4),
        ("vit_base_patch16_siglip_224", {"depth": 1, "embed_dim": 24, "num_heads": 2}, 2),
        ("detr_resnet50", {"depth": 1, "decoder_depth": 1, "embed_dim": 32, "num_heads": 2}, 3),
    ],
)
def test_every_layer_of_a_family_has_a_layout_that_fits(name: str, fields: dict, grids: int) -> None:
    model = create_model(name, image_size=96, **fields).eval()
    with observe_attention(model) as seen, torch.inference_mode():
        model(torch.randn(1, 3, 96, 96))
    assert len(seen) == grids
    for layer in seen:
        layout, weights = seen.layout(layer), seen[layer]
        if layout.places is None:
            assert weights.shape[-2:] == (layout.queries, layout.keys)
        assert over_image(weights, layout).shape == (1, weights.shape[1], layout.queries, layout.keys)


def test_rows_beyond_the_picture_are_refused() -> None:
    local = randomised(LocalAttention(multi_head(), (3, 3)))
    with observe_attention(local, rows=[54]), pytest.raises(VitrailError, match="no row 54"):
        local(tokens_of((6, 9)))


def test_a_masked_encoder_lies_on_the_cells_that_it_sees() -> None:
    sizes = {"embed_dim": 48, "depth": 2, "num_heads": 3, "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2}
    model = create_model("mae_vit_base_patch16", image_size=(64, 96), mask_ratio=0.5, **sizes).eval()
    pixels, noise = torch.randn(2, 3, 64, 96), torch.rand(2, 24)
    with observe_attention(model) as seen, torch.no_grad():
        model(pixels, noise)
    encoder, decoder = seen.layout(1), seen.layout(2)
    assert (encoder.grid, encoder.prefix, encoder.queries, encoder.keys) == ((4, 6), 1, 13, 13)
    assert (decoder.grid, decoder.cover, decoder.queries) == ((4, 6), None, 25)
    assert over_image(seen[1], encoder).shape == (2, 3, 13, 13)
    found = class_token_map(seen[1], encoder.grid, encoder.prefix, encoder.key_cover)
    expected = torch.zeros(2, 3, 24)
    for image in range(2):
        for token, cell in enumerate(noise[image].argsort()[:12]):  # the least noise is seen, in this order
            expected[image, :, cell] = seen[1][image, :, 0, 1 + token]
    assert torch.equal(found, expected.unflatten(2, (4, 6)))
    flow = class_token_map(rollout([seen[0], seen[1]]), encoder.grid, 1, encoder.key_cover)
    assert ((flow != 0) == (expected.unflatten(2, (4, 6))[:, 0] != 0)).all()
    with pytest.raises(VitrailError, match="take grid, prefix and cover"):
        class_token_map(seen[1], (6, 4), 1, encoder.key_cover)


def test_packed_images_of_one_length_share_a_layout() -> None:
    model = create_model("adaptive_vit_tiny_patch16_224", image_size=32, patch_size=8, depth=1, levels=2).eval()
    pixels = torch.zeros(3, 3, 32, 32)
    pixels[:2, :, :16, :16] = torch.randn(2, 3, 16, 16)
    pixels[1] = pixels[1].flip(2)
    with observe_attention(model) as seen, torch.no_grad():
        model(pixels)
        cover = model.embed(pixels).cover
    # The last image is plain: four patches. The attention of the two others, seven patches each, is the last to run.
    assert seen[0].shape == (2, 3, 8, 8)
    assert torch.equal(seen.layout(0).cover, cover[:2])
    assert seen.layout(0).queries == 8
