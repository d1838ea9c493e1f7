"""Heads that are removed: the oracle is the model whose output projection has zeros in their place."""

import copy
from pathlib import Path

import pytest
import torch

import vitrail
from tests.models.test_families import SMALLEST
from tests.rewrites.families import assert_same, given, randomised, results
from vitrail.errors import VitrailError
from vitrail.nn import MultiHeadAttention
from vitrail.rewrites.heads import DropHeads

# A first layer of one head or without attention; a bias or a scale for each head, mixed or normed heads; other kernels.
REFUSED = {
    *("detr_resnet50", "adaptive_vit_tiny_patch16_224", "beit_base_patch16_224", "beit_base_patch16_224_pretraining"),
    *("eva02_base_patch16_clip_224", "vit_small_patch16_rope_mixed_ape_224", "swin_tiny_patch4_window7_224"),
    *("cait_xxs24_224", "levit_128s", "swinv2_tiny_window8_256", "mixer_s32_224", "convnext_atto", "convnextv2_atto"),
    *("mobilenet_v3_small", "cvt_13_224", "pvt_tiny_224", "pvt_v2_b0", "pvt_v2_b2_li", "mit_b0", "segformer_b0"),
    *("timesformer_base_patch16_224", "vit_local_tiny_patch16_224", "vit_neighbourhood_tiny_patch16_224"),
    *("vit_axial_tiny_patch16_224", "vit_strided_tiny_patch16_224", "vit_sparse_tiny_patch16_224"),
    *("vit_linear_tiny_patch16_224", "vit_performer_tiny_patch16_224", "vit_relative_tiny_patch16_224"),
}


def without(model: torch.nn.Module, *heads: tuple[int, int]) -> torch.nn.Module:
    """A copy in which these heads add nothing."""
    changed = copy.deepcopy(model)
    layers = [module for module in changed.modules() if isinstance(module, MultiHeadAttention)]
    with torch.no_grad():
        for layer, head in heads:
            width = layers[layer].project.in_features // layers[layer].num_heads
            layers[layer].project.weight[:, head * width : (head + 1) * width] = 0
    return changed


@pytest.mark.parametrize("name", SMALLEST)
def test_every_family_with_plain_heads(name: str, seeded: None) -> None:
    model = randomised(name)
    change = DropHeads(((0, 1),))
    if name in REFUSED:
        with pytest.raises(VitrailError, match=r"heads of layer 0 cannot|layer 0 |there is no layer"):
            vitrail.rewrite(model, change)
        return
    changed = vitrail.rewrite(model, change)
    pixels = given(model)
    assert_same(results(without(model, (0, 1)), pixels), results(changed, pixels))


def test_heads_of_several_layers_are_saved_and_exported(seeded: None, tmp_path: Path) -> None:
    model = vitrail.create_model(
        "vit_tiny_patch16_224", image_size=32, embed_dim=32, num_heads=4, depth=2, num_classes=3
    ).eval()
    heads = ((0, 2), (1, 0), (1, 3), (1, 0))
    changed = vitrail.rewrite(model, DropHeads(heads))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = without(model, *heads)(pixels)
        torch.testing.assert_close(changed(pixels), expected)
        vitrail.save(
            vitrail.Checkpoint(changed, ("a", "b", "c"), vitrail.Preprocess(image_size=(32, 32))), tmp_path / "c"
        )
        loaded = vitrail.load(tmp_path / "c").model
        torch.testing.assert_close(loaded(pixels), expected)
        exported = torch.export.export(loaded, (pixels,)).module()
        torch.testing.assert_close(exported(pixels), expected)
        torch.testing.assert_close(vitrail.rewrite(loaded, "fold_query_scale")(pixels), expected)
    assert [layer.num_heads for layer in loaded.modules() if isinstance(layer, MultiHeadAttention)] == [3, 2]
    with vitrail.observe_attention(loaded) as seen, torch.no_grad():
        loaded(pixels)
    assert [seen[layer].shape[1] for layer in seen] == [3, 2]


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ((), "no heads are named"),
        (((0,),), r"\(0,\) is not a \(layer, head\) pair"),
        (((0, 1.0),), "pair of whole numbers"),
        (((2, 0),), "there is no layer 2: the model has 2"),
        (((-1, 0),), "there is no layer -1"),
        (((0, 4),), "layer 0 has no head 4: it has 4, from 0"),
        (tuple((1, head) for head in range(4)), "layer 1 would have no head left"),
    ],
)
def test_what_cannot_be_removed(heads: tuple[tuple[int, int], ...], message: str) -> None:
    model = vitrail.create_model("vit_tiny_patch16_224", image_size=32, embed_dim=32, num_heads=4, depth=2)
    with pytest.raises(VitrailError, match=message):
        vitrail.rewrite(model, DropHeads(heads))
