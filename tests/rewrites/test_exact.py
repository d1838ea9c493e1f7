"""Exact rewrites on every family: equal outputs and embeddings in float64, equal modules on the meta device."""

import copy

import pytest
import torch
from torch import nn

import vitrail
from tests.models.test_families import SMALLEST, build
from tests.rewrites.families import assert_same, given, randomised, results
from vitrail.checkpoint.build import blueprint
from vitrail.errors import VitrailError
from vitrail.lens.capture import capture
from vitrail.nn import KERNELS, Attend, UnscaledAttend, joined, set_attention_kernel
from vitrail.rewrites.positions import BakePositions
from vitrail.rewrites.preprocess import FoldPreprocess

MEAN, STD, CENTRE = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), (102.0, 128.0, 153.0)
NO_ATTENTION = {"mixer_s32_224", "convnext_atto", "convnextv2_atto", "mobilenet_v3_small"}
WITHOUT = {
    # Heads that read all tokens, several levels or no pooled vector; CaiT's last block has the class token only.
    "read_tokens_only": {
        *("simple_vit_tiny_patch16_224", "compact_tiny_16", "whitened_small_32", "detr_resnet50", "dpt_base_384"),
        *("universal_vit_tiny_patch16_224", "adaptive_vit_tiny_patch16_224", "beit_base_patch16_224_pretraining"),
        *("mae_vit_base_patch16", "swin_tiny_patch4_window7_224", "cait_xxs24_224", "swinv2_tiny_window8_256"),
        *("mixer_s32_224", "vit_base_patch16_siglip_224", "siglip_base_patch16_224", "mobilenet_v3_small"),
        *("pvt_v2_b0", "pvt_v2_b2_li", "mit_b0", "segformer_b0"),
        *("timesformer_base_patch16_224", "timesformer_space_patch16_224", "compact_video_small_64"),
        *("videomae_small_patch16_224_pretraining", "compact_clip_tiny_32", "compact_universal_small_128"),
        *("compact_detector_small_128", "compact_segmenter_small_128", "compact_depth_small_128"),
        *("vit_segmenter_small_patch16_224", "vit_depth_small_patch16_224"),
    },
    # Norms behind the branch or the sum, and batch norms.
    "fold_norm_affine": {"detr_resnet50", "levit_128s", "swinv2_tiny_window8_256", "mobilenet_v3_small"},
    # Linear attention has no scale; cosines are normalised; LeViT's queries, keys and values are mixed head by head.
    "fold_query_scale": {
        *NO_ATTENTION,
        *("adaptive_vit_tiny_patch16_224", "levit_128s", "swinv2_tiny_window8_256"),
        *("vit_local_tiny_patch16_224", "vit_neighbourhood_tiny_patch16_224", "vit_axial_tiny_patch16_224"),
        *("vit_strided_tiny_patch16_224", "vit_sparse_tiny_patch16_224"),
        *("vit_linear_tiny_patch16_224", "vit_performer_tiny_patch16_224"),
    },
    "bake_positions": {
        *NO_ATTENTION,
        *("adaptive_vit_tiny_patch16_224", "cvt_13_224", "pvt_v2_b0", "pvt_v2_b2_li", "mit_b0", "segformer_b0"),
    },
    "fold_preprocess": set[str](),
}
"""Families that a rewrite does not apply to."""


@pytest.mark.parametrize("name", SMALLEST)
def test_every_rewrite_is_exact_on_every_family(name: str, seeded: None) -> None:
    model = randomised(name)
    pixels, *rest = given(model)
    values = torch.randint(0, 256, pixels.shape).double()
    axes = [1] * (pixels.ndim - 2)
    mean, std = (torch.tensor(each, dtype=torch.float64).view(-1, *axes) for each in (MEAN, STD))
    pixels = (values / 255 - mean) / std
    wanted = results(model, [pixels, *rest])
    height, width = pixels.shape[-2:]
    options = {"bake_positions": BakePositions((height, width)), "fold_preprocess": FoldPreprocess(MEAN, STD, CENTRE)}
    for change, without in WITHOUT.items():
        if name in without:
            with pytest.raises(VitrailError, match=f"leave {change} out"):
                vitrail.rewrite(model, options.get(change, change))
            continue
        changed = vitrail.rewrite(model, options.get(change, change))
        assert_same(wanted, results(changed, [values if change == "fold_preprocess" else pixels, *rest]))
        shapes = {key: tensor.shape for key, tensor in changed.state_dict().items()}
        again = blueprint(model.config, changed.rewrites).state_dict()
        assert {key: tensor.shape for key, tensor in again.items()} == shapes, change


def test_all_together_and_in_another_order(seeded: None) -> None:
    model = randomised("vit_small_plus_patch16_dinov3_qkvb")
    pixels = given(model)
    baked = BakePositions((64, 64))
    names = ["fold_layer_scale", "fold_norm_affine", "fold_query_scale", baked, "read_tokens_only"]
    for order in (names, names[::-1]):
        changed = model
        for change in order:
            changed = vitrail.rewrite(changed, change)
        assert len(changed.rewrites) == 5
        assert_same(results(model, pixels), results(changed, pixels))


def test_the_tokens_that_are_read(seeded: None) -> None:
    model = vitrail.rewrite(randomised("deit_tiny_distilled_patch16_224"), "read_tokens_only")
    (pixels,) = given(model)
    tokens = model.forward_features(pixels)
    assert (tuple(tokens.x.shape[:2]), tokens.prefix, tokens.grid) == ((2, 2), 2, (4, 4))
    assert tokens.cover is not None
    assert (tokens.cover == -1).all()
    averaged = vitrail.rewrite(randomised("beit_base_patch16_224"), "read_tokens_only")
    mean = averaged.forward_features(*given(averaged))
    assert (tuple(mean.x.shape[:2]), mean.prefix, mean.size.tolist()) == ((2, 1), 0, [[16], [16]])
    mixed = randomised("vit_small_patch16_rope_mixed_ape_224", pool="mean")
    pixels = given(mixed)
    assert_same(results(mixed, pixels), results(vitrail.rewrite(mixed, "read_tokens_only"), pixels))
    dino = randomised("vit_giant_patch14_reg4_dinov2", pool="mean")  # its norm is in front of the mean
    fewer = vitrail.rewrite(dino, "read_tokens_only")
    assert_same(results(dino, pixels), results(fewer, pixels))
    assert (dino.forward_features(*pixels).prefix, fewer.forward_features(*pixels).prefix) == (5, 0)


def test_gradients_of_the_parameters_are_the_same(seeded: None) -> None:
    model = randomised("vit_tiny_patch32_224")
    changed = vitrail.rewrite(model, "read_tokens_only")
    (pixels,) = given(model)
    for each in (model, changed):
        joined(each(pixels)).square().sum().backward()
    wanted = {key: param.grad for key, param in model.named_parameters()}
    for key, param in changed.named_parameters():
        before = key.replace(".residual.", ".").replace("branch.attention", "branch")
        torch.testing.assert_close(param.grad, wanted[before])


@pytest.mark.parametrize("kernel", [*KERNELS, "own"])
def test_attention_weights_of_folded_queries_are_right(kernel: str, seeded: None) -> None:
    model = randomised("vit_small_patch16_rope_mixed_ape_224")
    folded = vitrail.rewrite(model, "fold_query_scale")
    kinds = {type(module) for module in folded.modules()}
    assert (UnscaledAttend in kinds, Attend in kinds) == (True, False)
    chosen = KERNELS.get(kernel, lambda q, k, v, bias: KERNELS["explicit"](q, k, v, bias))
    set_attention_kernel(folded, chosen)
    (pixels,) = given(model)
    with torch.no_grad():
        with vitrail.observe_attention(model) as wanted, capture(model):
            model(pixels)
        with vitrail.observe_attention(folded) as found:
            folded(pixels)
    for layer, weights in wanted.items():
        torch.testing.assert_close(found[layer], weights)
    assert_same(results(model, [pixels]), results(folded, [pixels]))


def test_attention_of_the_class_token_only_is_the_row_of_the_whole(seeded: None) -> None:
    for name in ("vit_tiny_patch32_224", "cvt_13_224"):
        model = randomised(name)
        changed = vitrail.rewrite(model, "read_tokens_only")
        pixels = given(model)
        with torch.no_grad():
            with vitrail.observe_attention(model) as wanted:
                model(*pixels)
            with vitrail.observe_attention(changed) as found:
                changed(*pixels)
        last = max(wanted)
        torch.testing.assert_close(found[last], wanted[last][:, :, :1])


def test_baked_positions_refuse_other_sizes(seeded: None) -> None:
    for name in ("vit_tiny_patch32_224", "beit_base_patch16_224", "eva02_base_patch16_clip_224"):
        model = build(name).eval()
        baked = vitrail.rewrite(model, BakePositions((96, 64)))
        pixels = torch.randn(1, 3, 96, 64)
        torch.testing.assert_close(joined(baked(pixels)), joined(model(pixels)), rtol=1e-5, atol=1e-5)
        with pytest.raises(ValueError, match="does not fit positions baked for"):
            baked(torch.randn(1, 3, 64, 64))
    with pytest.raises(VitrailError, match="cannot be baked for 97×64"):
        vitrail.rewrite(build("vit_tiny_patch32_224"), BakePositions((97, 64)))


def test_values_of_images(seeded: None) -> None:
    model = build("vit_tiny_patch32_224").eval()
    folded = vitrail.rewrite(model, FoldPreprocess(MEAN, STD))
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(folded(image), folded(image.float()))
    with pytest.raises(VitrailError, match="takes the values of images already"):
        vitrail.rewrite(folded, FoldPreprocess(MEAN, STD))
    with pytest.raises(VitrailError, match="for a model of 3 channels"):
        vitrail.rewrite(model, FoldPreprocess((0.5,), (0.5,)))
    with pytest.raises(VitrailError, match="give one number for each channel, or none"):
        vitrail.rewrite(model, FoldPreprocess(MEAN, STD, (128.0,)))
    padded = build("vit_tiny_patch32_224", pad=True).double().eval()
    odd = torch.randint(0, 256, (1, 3, 50, 70))
    pixels = (odd.double() / 255 - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)
    found = vitrail.rewrite(padded, FoldPreprocess(MEAN, STD))(odd.double())
    torch.testing.assert_close(found, padded(pixels), rtol=1e-6, atol=1e-6)  # the options are float64, MEAN is not


def test_values_around_0_lose_no_more_in_bfloat16(seeded: None) -> None:
    model = randomised("vit_tiny_patch32_224").eval()
    values = torch.randint(0, 256, (4, 3, 64, 64)).double()
    pixels = (values / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        exact = model.embed(pixels).x

    def lost(centre: tuple[float, ...] | None) -> float:
        """Relative error of the embedding with filters and inputs in bfloat16."""
        changed = model if centre is None else vitrail.rewrite(model, FoldPreprocess(MEAN, STD, centre))
        given = pixels if centre is None else values
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            found = copy.deepcopy(changed).float().embed(given.float()).x.double()
        return float((found - exact).norm() / exact.norm())

    assert lost(CENTRE) < 1.1 * lost(None)
    assert lost(CENTRE) < 0.8 * lost(())


def test_merging_low_rank_updates_is_a_rewrite(seeded: None) -> None:
    model = vitrail.rewrite(randomised("vit_tiny_patch32_224"), "lora")
    for param in model.parameters():
        nn.init.normal_(param, std=0.3)
    merged = vitrail.rewrite(model, "merge_lora")
    assert merged.rewrites == ()
    assert merged.state_dict().keys() == build("vit_tiny_patch32_224").state_dict().keys()
    pixels = given(model)
    assert_same(results(model.double(), pixels), results(merged.double(), pixels))
    with pytest.raises(VitrailError, match="no low-rank updates"):
        vitrail.rewrite(merged, "merge_lora")
