"""Distances, similarities, components and receptive fields against plain loops and closed forms."""

import math

import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from vitrail.errors import VitrailError
from vitrail.lens.draw import LEAD, visualize_attention_weights
from vitrail.lens.layout import Layout
from vitrail.lens.measures import attention_distance, effective_receptive_field, feature_pca, position_similarity
from vitrail.lens.observe import observe_attention
from vitrail.models.registry import create_model
from vitrail.nn import LearnedPositions, LocalAttention, MultiHeadAttention, Tokens


def test_attention_distance_against_a_loop() -> None:
    torch.manual_seed(0)
    weights = torch.randn(2, 3, 7, 7, dtype=torch.float64).softmax(-1)
    found = attention_distance(weights, Layout((2, 3), 1, (2, 3), 1), patch_size=16)
    for picture in range(2):
        for head in range(3):
            means = []
            for query in range(6):
                row = weights[picture, head, 1 + query, 1:]
                far = [math.dist(divmod(query, 3), divmod(key, 3)) for key in range(6)]
                means.append(sum(w.item() * f for w, f in zip(row, far, strict=True)) / row.sum().item())
            assert found[picture, head].item() == pytest.approx(16 * sum(means) / 6, abs=1e-10)


def test_distances_in_windows_stay_inside_them() -> None:
    model = create_model("swin_tiny_patch4_window7_224", embed_dim=24, depths=(2, 1), num_heads=(1, 2), num_classes=2)
    with observe_attention(model.eval()) as seen, torch.no_grad():
        model(torch.randn(1, 3, 224, 224))
    for layer in seen:
        assert 0 < attention_distance(seen[layer], seen.layout(layer)).max() < math.dist((0, 0), (6, 6))


def test_reduced_keys_are_measured_in_patches() -> None:
    nearest = torch.zeros(1, 1, 4, 1)
    nearest[..., 0] = 1
    found = attention_distance(nearest, Layout((2, 2), 0, (1, 1), 0))
    assert found.item() == pytest.approx(math.dist((0.5, 0.5), (1, 1)))


def test_position_similarity() -> None:
    model = create_model("vit_tiny_patch16_224", image_size=(32, 48), depth=1)
    alike = position_similarity(model)
    table = next(part for part in model.modules() if isinstance(part, LearnedPositions)).weight[0, 1:]
    assert alike.shape == (2, 3, 2, 3)
    expected = torch.cosine_similarity(table[4], table[2], dim=0)
    torch.testing.assert_close(alike[1, 1, 0, 2], expected.detach())
    with pytest.raises(VitrailError, match="no learned position"):
        position_similarity(create_model("simple_vit_tiny_patch16_224", depth=1))


def test_feature_pca_against_scikit_learn() -> None:
    maps = torch.randn(2, 8, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = feature_pca(maps, 3)
    rows = maps.movedim(1, -1).reshape(-1, 8).numpy()
    expected = torch.from_numpy(PCA(3, svd_solver="full").fit_transform(rows))
    got = found.movedim(1, -1).reshape(-1, 3)
    for k in range(3):
        scaled = (expected[:, k] - expected[:, k].min()) / (expected[:, k].max() - expected[:, k].min())
        assert min((got[:, k] - scaled).abs().max(), (got[:, k] - (1 - scaled)).abs().max()) < 1e-10
    with pytest.raises(VitrailError, match="ask for fewer"):
        feature_pca(maps, 9)


def test_effective_receptive_field_of_convolutions_is_where_they_reach() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)).double()
    pixels = torch.randn(2, 3, 11, 11, dtype=torch.float64)
    field = effective_receptive_field(model, pixels, "1")
    assert field.sum().item() == pytest.approx(1)
    reach = field > 0
    assert reach[3:8, 3:8].all()
    assert reach.sum() == 25
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x)[:, :, 5, 5].sum(0), pixels)  # (4, B, C, H, W)
    expected = jacobian.norm(dim=0).mean((0, 1))  # E |z · g| is in proportion to the norm of g
    many = effective_receptive_field(model, pixels, "1", projections=1000)
    torch.testing.assert_close(many, expected / expected.sum(), rtol=0.1, atol=1e-12)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_effective_receptive_field_of_one_filter_is_its_kernel() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 1, 5, padding=2)).double()
    field = effective_receptive_field(model, torch.randn(1, 1, 9, 9, dtype=torch.float64), "0", projections=1)
    kernel = model[0].weight.detach()[0, 0].abs()
    torch.testing.assert_close(field[2:7, 2:7], kernel / kernel.sum())


@pytest.mark.parametrize("norm", [False, True])
def test_effective_receptive_field_of_a_window_is_the_window(norm: bool) -> None:
    """Also after a layer norm, which keeps the sum of the channels constant."""

    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = LocalAttention(MultiHeadAttention(8, 2), (4, 4))
            self.norm = nn.LayerNorm(8) if norm else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.attention(Tokens.from_map(x))
            return tokens.with_x(self.norm(tokens.x)).map

    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 2, stride=2), Windows()).double()
    field = effective_receptive_field(model, torch.randn(2, 3, 32, 32, dtype=torch.float64), "1")
    window = torch.zeros(32, 32, dtype=torch.bool)
    window[16:24, 16:24] = True  # the third window of 4 × 4 tokens of 2 × 2 pixels, of the token (8, 8)
    assert (field[window] > 0).all()
    assert (field[~window] == 0).all()
    assert 0.5 * 64 < int((field.flatten().sort(descending=True).values.cumsum(0) < 0.9).sum()) + 1 <= 64
    with pytest.raises(VitrailError, match="at least 1"):
        effective_receptive_field(model, torch.randn(1, 3, 32, 32, dtype=torch.float64), "1", projections=0)


def test_effective_receptive_field_of_a_vit_and_of_no_map() -> None:
    model = create_model("vit_tiny_patch16_224", image_size=32, depth=1, num_classes=2).eval()
    nn.init.normal_(model.encoder.blocks[0].attention.branch.qkv.weight, std=0.05)
    field = effective_receptive_field(model, torch.randn(1, 3, 32, 32), "blocks.0")
    assert field.shape == (32, 32)
    assert (field > 0).all()
    with pytest.raises(VitrailError, match="no map"):
        effective_receptive_field(model, torch.randn(1, 3, 32, 32), "head")


def test_a_sheet_of_heads() -> None:
    layers = nn.Sequential(MultiHeadAttention(6, 2), MultiHeadAttention(6, 3))
    with observe_attention(layers) as seen, torch.no_grad():
        layers(Tokens(torch.randn(1, 9, 6), (3, 3)))
    image = torch.full((3, 30, 60), 200, dtype=torch.uint8)
    sheet = visualize_attention_weights(image, seen, side=20, gap=2)
    assert sheet.shape == (3, 2 * 22 - 2, 3 * 42 - 2)
    assert (sheet[:, :20, 84:] == LEAD).all()  # the first layer has no third head
    assert not (sheet[:, 22:, 84:] == LEAD).all()
