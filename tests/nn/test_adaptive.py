"""Adaptive patches and packing: exact where they must be, and fewer tokens where they may."""

import math

import pytest
import torch

import vitrail
from vitrail.models.adaptive import AdaptiveViTConfig, adaptive_from_vit
from vitrail.nn import (
    BaseVisionModel,
    MultiHeadAttention,
    PackedAttention,
    SegmentMask,
    Tokens,
    entropy,
    pack,
    pack_tokens,
    quadtree,
    unpack,
    variance,
)


def pictures(batch: int = 3, height: int = 64, width: int = 96) -> torch.Tensor:
    """Noise in a part of each picture, and a plain rest."""
    pixels = torch.zeros(batch, 3, height, width)
    for index in range(batch):
        part = pixels[index, :, 8 * index : 32, 16 : 48 + 8 * index]
        part.copy_(torch.randn(part.shape))
    return pixels


def small(**fields: object) -> BaseVisionModel:
    sizes = {"image_size": (64, 96), "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "num_classes": 5}
    model = AdaptiveViTConfig(**{**sizes, **fields}).build().eval()
    torch.nn.init.normal_(model.embed.patches.size, std=0.5)
    return model


@pytest.mark.parametrize("detail", ["variance", "entropy"])
@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(64, 96), (72, 88), (8, 40)])
def test_packed_pictures_give_what_each_gives_alone(detail: str, levels: int, size: tuple[int, int]) -> None:
    model = small(detail=detail, levels=levels, threshold=0.3)
    pixels = pictures(4, *size)
    with torch.no_grad():
        together, alone = model(pixels), torch.cat([model(picture[None]) for picture in pixels])
        assert (together - alone).abs().max() < 1e-5
        model.double()
        pixels = pixels.double()
        together, alone = model(pixels), torch.cat([model(picture[None]) for picture in pixels])
        assert (together - alone).abs().max() < 1e-12


@pytest.mark.parametrize("class_position", [True, False])
def test_with_the_smallest_patches_everywhere_it_is_the_plain_vit(class_position: bool) -> None:
    sizes = {"image_size": 64, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 4, "num_classes": 5}
    vit = vitrail.create_model("vit_tiny_patch16_224", class_position=class_position, **sizes).eval()
    torch.nn.init.normal_(vit.embed.parts.prefix.weight)
    adaptive = adaptive_from_vit(vit, threshold=0.0).eval()
    pixels = pictures(3, 64, 64)
    with torch.no_grad():
        assert (adaptive(pixels) - vit(pixels)).abs().max() < 1e-5


def test_every_pixel_is_in_one_patch() -> None:
    pixels = pictures(5, 72, 104)
    for detail, threshold in ((variance, 0.5), (entropy, 2.0)):
        covered = torch.zeros(5, 9, 13)
        for level, chosen in enumerate(quadtree(pixels, 8, 3, threshold, detail)):
            for picture, row, column in chosen.nonzero().tolist():
                reach = 2**level
                covered[picture, row * reach : (row + 1) * reach, column * reach : (column + 1) * reach] += 1
        assert (covered == 1).all()


def test_a_plain_picture_is_a_few_large_patches() -> None:
    tokens = small(levels=3, threshold=0.1).embed.patches(torch.zeros(2, 3, 64, 96))
    assert tokens.lengths == (6, 6)
    assert small(levels=3, threshold=0.1).embed.patches(torch.randn(1, 3, 64, 96)).lengths == (96,)


def test_positions_are_the_means_of_what_a_patch_covers() -> None:
    embed = small(levels=3, threshold=1e9).embed.patches
    torch.nn.init.zeros_(embed.patches.project.bias)
    torch.nn.init.zeros_(embed.size)
    table = embed.positions.weight[0].unflatten(0, (8, 12))
    expected = torch.stack([table[r : r + 4, c : c + 4].mean((0, 1)) for r in (0, 4) for c in (0, 4, 8)])
    assert (embed(torch.zeros(1, 3, 64, 96)).x[0] - expected).abs().max() < 1e-6


def test_detail_is_what_a_loop_counts() -> None:
    pixels = torch.randn(2, 3, 16, 24)
    cell = pixels[1, :, 8:16, 16:24]
    assert torch.isclose(variance(pixels, 8)[1, 1, 2], cell.var(dim=(1, 2), correction=0).mean(), atol=1e-6)
    grey = pixels[1].mean(0)
    places = ((grey - grey.min()) / (grey.max() - grey.min()) * 32).long().clamp(max=31)[8:16, 16:24]
    shares = [(places == level).sum().item() / 64 for level in range(32)]
    bits = -sum(share * math.log2(share) for share in shares if share)
    assert abs(entropy(pixels, 8)[1, 1, 2].item() - bits) < 1e-5


def test_packed_attention_is_masked_attention() -> None:
    packed = PackedAttention(32, 4).eval()
    masked = MultiHeadAttention(32, 4, bias=SegmentMask()).eval()
    masked.load_state_dict(packed.state_dict())
    tokens = pack([torch.randn(length, 32) for length in (5, 1, 9)], (1, 15))
    with torch.no_grad():
        assert (packed(tokens).x - masked(tokens).x).abs().max() < 1e-6
        each = [masked(pack([sequence], (1, 1))).x[0] for sequence in unpack(tokens)]
        assert (packed(tokens).x[0] - torch.cat(each)).abs().max() < 1e-6


def test_pictures_of_different_sizes_share_a_sequence() -> None:
    model = small(threshold=0.3)
    several = [pictures(1, *size) for size in ((64, 96), (32, 48), (40, 104))]
    with torch.no_grad():
        joined = model.head(model.encoder(pack_tokens([model.embed(pixels) for pixels in several])))
        assert (joined - torch.cat([model(pixels) for pixels in several])).abs().max() < 1e-5
    plain = pack_tokens([Tokens(torch.randn(2, 4, 8), (2, 2)), Tokens(torch.randn(1, 6, 8), (2, 3))])
    assert plain.lengths == (4, 4, 6)
