"""The building blocks against what they are said to be."""

import copy
import itertools
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import vitrail
from vitrail.nn import (
    KERNELS,
    Attend,
    BaseVisionModel,
    ComposedModel,
    DropPath,
    Encoder,
    Kernel,
    LayerScale,
    MultiHeadAttention,
    NeighbourhoodAttention,
    PatchEmbed,
    PrefixOnly,
    Residual,
    Stage,
    Tokens,
    attention_weights,
    checkpoint_activations,
    explicit_kernel,
    linear_rates,
    recompute,
    resample_positions,
    set_attention_kernel,
)


class Double(nn.Module):
    """A branch that gives twice what it gets, and counts the samples it was given."""

    seen = 0

    def forward(self, tokens: Tokens) -> Tokens:
        self.seen += len(tokens.x)
        return tokens.with_x(2 * tokens.x)


def tokens(batch: int = 2, grid: tuple[int, int] = (2, 3), prefix: int = 1, dim: int = 4) -> Tokens:
    return Tokens(torch.randn(batch, prefix + grid[0] * grid[1], dim), grid, prefix)


def test_tokens_fold_back_into_the_grid() -> None:
    t = tokens()
    for row in range(2):
        for column in range(3):
            assert torch.equal(t.map[:, :, row, column], t.x[:, 1 + row * 3 + column])
    assert torch.equal(t.patches, t.x[:, 1:])


def test_tokens_are_a_pytree_with_one_tensor() -> None:
    t = tokens()
    leaves, spec = pytree.tree_flatten(t)
    assert len(leaves) == 1
    assert leaves[0] is t.x
    again = pytree.tree_unflatten(leaves, spec)
    assert (again.grid, again.prefix) == (t.grid, t.prefix)


def test_residual_is_x_plus_scaled_branch_of_norm() -> None:
    scale = LayerScale(4, 0.5)
    scale.weight.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    norm = nn.LayerNorm(4)
    t = tokens()
    expected = t.x + 2 * norm(t.x) * scale.weight
    assert torch.allclose(Residual(norm, Double(), scale=scale)(t).x, expected)


def test_drop_path_keeps_a_fixed_number_and_the_expectation() -> None:
    drop, branch, t = DropPath(0.25), Double(), tokens(batch=8)
    total = torch.zeros_like(t.x)
    for _ in range(4000):
        total += drop(t, branch).x - t.x
    assert branch.seen == 4000 * 6
    assert (total / 4000 - 2 * t.x).abs().max() < 0.1 * t.x.abs().max()


def test_drop_path_in_training_scales_what_it_keeps_and_passes_the_gradient() -> None:
    t = tokens(batch=8)
    x = t.x.clone().requires_grad_()
    out = DropPath(0.25)(t.with_x(x), Double()).x
    factor = (out / x).mean(dim=(1, 2))
    kept = factor > 2
    assert torch.allclose(factor[kept], torch.tensor(1 + 2 * 8 / 6))
    assert torch.allclose(factor[~kept], torch.tensor(1.0))
    out.sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad.mean(dim=(1, 2)), factor)


def test_drop_path_does_nothing_in_evaluation() -> None:
    t, branch = tokens(batch=8), Double()
    assert torch.equal(DropPath(0.9).eval()(t, branch).x, 3 * t.x)
    with pytest.raises(ValueError, match=r"1\.0 is not in \[0, 1\)"):
        DropPath(1.0)


def test_rates_grow_linearly() -> None:
    assert linear_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert linear_rates(0.3, 1) == [0]


@pytest.mark.parametrize("size", [(8, 12), (16, 4)])
def test_patch_embedding_is_unfold_and_linear(size: tuple[int, int]) -> None:
    embed = PatchEmbed(3, 5, (4, 4))
    pixels = torch.randn(2, 3, *size)
    columns = F.unfold(pixels, 4, stride=4).transpose(1, 2)
    expected = F.linear(columns, embed.project.weight.flatten(1), embed.project.bias)
    out = embed(pixels)
    assert torch.allclose(out.x, expected, atol=1e-5)
    assert out.grid == (size[0] // 4, size[1] // 4)


def test_a_picture_that_does_not_fit_says_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"image 9×8 is not a multiple of patch 4×4: .*pad=True"):
        PatchEmbed(3, 5, (4, 4))(torch.randn(1, 3, 9, 8))
    padded = PatchEmbed(3, 5, (4, 4), pad=True)
    pixels = torch.randn(1, 3, 9, 6)
    assert torch.equal(padded(pixels).x, padded(F.pad(pixels, (0, 2, 0, 3))).x)
    assert padded.grid((9, 6)) == padded(pixels).grid == (3, 2)


@pytest.mark.parametrize("bias", [None, torch.randn(1, 2, 5, 7)])
def test_explicit_and_fused_attention_agree(bias: Tensor | None) -> None:
    q, k, v = torch.randn(3, 2, 5, 8), torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 8)
    fused = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    explicit = Attend()(q.requires_grad_(), k, v, bias)
    with torch.no_grad():
        assert (explicit - fused).abs().max() < 1e-6
        assert (Attend()(q, k, v, bias) - fused).abs().max() < 1e-6
        assert torch.allclose(attention_weights(q, k, bias).sum(-1), torch.ones(3, 2, 5))


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("shape", [None, (2, 5, 7), (5, 7), (1, 2, 5, 7)])
def test_every_kernel_is_the_softmax_of_a_loop(kernel: Kernel, shape: tuple[int, ...] | None) -> None:
    q, k, v = (torch.randn(3, 2, count, 8, dtype=torch.float64) for count in (5, 7, 7))
    bias = None if shape is None else torch.randn(shape, dtype=torch.float64)
    expected = torch.empty(3, 2, 5, 8, dtype=torch.float64)
    for image, head, query in itertools.product(range(3), range(2), range(5)):
        scores = [float(q[image, head, query] @ k[image, head, key]) / math.sqrt(8) for key in range(7)]
        if bias is not None:
            row = bias.expand(3, 2, 5, 7)[image, head, query].tolist()
            scores = [score + one for score, one in zip(scores, row, strict=True)]
        weights = torch.tensor([math.exp(score) for score in scores], dtype=torch.float64)
        expected[image, head, query] = weights / weights.sum() @ v[image, head]
    assert (Attend(kernel)(q, k, v, bias) - expected).abs().max() < 1e-12


def test_a_built_model_takes_another_kernel() -> None:
    calls = []

    def counted(*given: Tensor | None) -> Tensor:
        calls.append(given)
        return explicit_kernel(*given)

    parts = nn.Sequential(MultiHeadAttention(8, 2), NeighbourhoodAttention(8, 2, side=3), PrefixOnly(nn.Identity()))
    tokens = Tokens(torch.randn(2, 12, 8), (3, 4))
    with torch.no_grad():
        expected = parts(tokens)
        set_attention_kernel(parts, counted)
        assert (parts(tokens).x - expected.x).abs().max() < 1e-6
    assert len(calls) == 3  # the second attends inside its groups, and from the tokens that see all


def test_blocks_run_again_in_the_backward_pass_and_so_does_a_copy() -> None:
    runs = []

    class Counted(nn.Linear):
        def forward(self, tokens: Tokens) -> Tokens:
            runs.append(self)
            return tokens.with_x(super().forward(tokens.x))

    encoder = Encoder([Stage([Counted(4, 4), Counted(4, 4)]), Stage([Counted(4, 4)])])
    checkpoint_activations(encoder)
    again = pickle.loads(pickle.dumps(copy.deepcopy(encoder.blocks[0].blocks.run)))
    assert again is recompute
    for model in (encoder, copy.deepcopy(encoder)):
        runs.clear()
        model(Tokens(torch.randn(1, 2, 4, requires_grad=True), (1, 2))).x.sum().backward()
        assert len(runs) == 2 * 3
        assert {id(run) for run in runs} <= {id(module) for module in model.modules()}


def test_resampling_leaves_the_prefix_and_the_same_grid_alone() -> None:
    table = torch.randn(1, 2 + 12, 4)
    assert resample_positions(table, (3, 4), (3, 4), prefix=2) is table
    resampled = resample_positions(table, (3, 4), (6, 5), prefix=2)
    assert resampled.shape == (1, 2 + 30, 4)
    assert torch.equal(resampled[:, :2], table[:, :2])
    flat = resample_positions(torch.ones(1, 12, 4), (3, 4), (7, 2))
    assert torch.allclose(flat, torch.ones_like(flat))


def test_base_classes_of_models_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BaseVisionModel(None)  # type: ignore[abstract]
    with pytest.raises(TypeError, match="abstract"):
        ComposedModel(nn.Identity(), nn.Identity(), nn.Identity(), None)  # type: ignore[abstract]


def test_a_dual_encoder_is_a_vision_model_with_the_names_it_had() -> None:
    sizes = {"image_size": 32, "embed_dim": 16, "depth": 1, "num_heads": 1, "text_dim": 16, "text_depth": 1}
    model = vitrail.create_model("clip_vit_base_patch32", **sizes, text_heads=1, vocab_size=9, joint_dim=8)
    assert isinstance(model, BaseVisionModel)
    assert {name.split(".")[0] for name in model.state_dict()} == {"image", "text", "compare"}
    assert model.embed_images(torch.zeros(2, 3, 32, 32)).shape == (2, 8)
