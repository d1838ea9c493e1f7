"""The names of papers mean our variants."""

import pytest

from vitrail.errors import VitrailError
from vitrail.models import paper_names
from vitrail.models.registry import canonical_name, model_config

PAPERS = {
    "ViT": "vit_base_patch16_224",
    "ViT-Huge": "vit_huge_patch14_224",
    "SimpleViT": "simple_vit_small_patch16_224",
    "DeiT": "deit_base_patch16_224",
    "MLP-Mixer": "mixer_b16_224",
    "CLIP": "clip_vit_large_patch14_336",
    "MAE": "mae_vit_large_patch16",
    "UniversalViT": "universal_vit_base_patch16_224",
    "UniversalViT-Ti": "universal_vit_tiny_patch16_224",
    "Swin": "swin_tiny_patch4_window7_224",
    "DETR": "detr_resnet50",
    "DINO": "dino_vits16",
    "VideoMAE": "videomae_base_patch16_224",
    "DPT": "dpt_large_384",
    "BEiT": "beit_base_patch16_224",
    "ConvNeXt": "convnext_tiny",
    "ViT-B/16": "vit_base_patch16_224",
    "ViT-Ti/16": "vit_tiny_patch16_224",
    "ViT-L/16@384": "vit_large_patch16_384",
    "ViT-H/14": "vit_huge_patch14_224",
    "vit base": "vit_base_patch16_224",
    "SimpleViT-S/16": "simple_vit_small_patch16_224",
    "DeiT-S": "deit_small_patch16_224",
    "DeiT-B↑384": "deit_base_patch16_384",
    "DeiT-B⚗": "deit_base_distilled_patch16_224",
    "DeiT-Ti-distilled": "deit_tiny_distilled_patch16_224",
    "DeiT III-L": "deit3_large_patch16_224",
    "DeiT III-H": "deit3_huge_patch14_224",
    "R50+ViT-B/16": "vit_base_r50_s16_224",
    "R26+S/32": "vit_small_r26_s32_224",
    "R+Ti/16": "vit_tiny_r_s16_p8_224",
    "ViT_C-4GF": "vitc_4gf",
    "FlexiViT-B": "flexivit_base",
    "Mixer-B/16": "mixer_b16_224",
    "Swin-T": "swin_tiny_patch4_window7_224",
    "Swin-B@384": "swin_base_patch4_window12_384",
    "SwinV2-B": "swinv2_base_window8_256",
    "Swin V2-L": "swinv2_large_window12_192",
    "SwinV2-H": "swinv2_huge_window12_192",
    "SwinV2-G": "swinv2_giant_window12_192",
    "ConvNeXt-T": "convnext_tiny",
    "ConvNeXt-XL": "convnext_xlarge",
    "ConvNeXt V2-A": "convnextv2_atto",
    "CaiT-S24": "cait_s24_224",
    "CaiT-XXS-36↑384": "cait_xxs36_384",
    "CaiT-XS24": "cait_xs24_384",
    "CaiT-M36": "cait_m36_384",
    "CaiT-M48↑448": "cait_m48_448",
    "LeViT-128S": "levit_128s",
    "LeViT-384": "levit_384",
    "PVT-Small": "pvt_small_224",
    "PVTv2-B0": "pvt_v2_b0",
    "PVT v2-B2-Li": "pvt_v2_b2_li",
    "CvT-13": "cvt_13_224",
    "CvT-21↑384": "cvt_21_384",
    "CvT-W24": "cvt_w24_384",
    "MiT-B0": "mit_b0",
    "SegFormer-B5": "segformer_b5",
    "BEiT-B/16": "beit_base_patch16_224",
    "BEiT-L/16@512": "beit_large_patch16_512",
    "BEiT v2-B/16": "beitv2_base_patch16_224",
    "MAE ViT-L/16": "mae_vit_large_patch16",
    "MAE ViT-H": "mae_vit_huge_patch14",
    "DINO ViT-S/8": "dino_vits8",
    "DINOv2 ViT-S/14": "vit_small_patch14_dinov2",
    "dinov2_vitg14": "vit_giant_patch14_dinov2",
    "dinov2_vitb14_reg": "vit_base_patch14_reg4_dinov2",
    "DINOv3 ViT-S+/16": "vit_small_plus_patch16_dinov3",
    "DINOv3 ViT-7B/16": "vit_7b_patch16_dinov3",
    "EVA": "eva_giant_patch14_224",
    "EVA-02-B": "eva02_base_patch14_224",
    "RoPE-ViT": "vit_base_patch16_rope_224",
    "RoPE-ViT-S/16": "vit_small_patch16_rope_224",
    "CLIP ViT-B/32": "clip_vit_base_patch32",
    "CLIP ViT-L/14@336px": "clip_vit_large_patch14_336",
    "CLIP ViT-bigG/14": "clip_vit_gigantic_patch14",
    "SigLIP ViT-B/16@256": "siglip_base_patch16_256",
    "SigLIP 2 So400m/14@384": "siglip2_so400m_patch14_384",
    "VideoMAE-B": "videomae_base_patch16_224",
    "TimeSformer": "timesformer_base_patch16_224",
    "TimeSformer-HR": "timesformer_hr_patch16_448",
    "TimeSformer-L": "timesformer_large_patch16_224",
    "DETR-R50": "detr_resnet50",
    "DETR-DC5-R101": "detr_resnet101_dc5",
    "detr-resnet-50-dc5": "detr_resnet50_dc5",
    "DPT-Large": "dpt_large_384",
    "ResNet-50": "resnet50",
    "EfficientNet-B0": "efficientnet_b0",
    "RegNetY-1.6GF": "regnet_y_1_6gf",
    "MobileNetV2": "mobilenet_v2",
    # What stands behind the owner in a name of the hub.
    "swin-tiny-patch4-window7-224": "swin_tiny_patch4_window7_224",
    "deit-base-distilled-patch16-224": "deit_base_distilled_patch16_224",
    "convnext-tiny-224": "convnext_tiny",
    "dinov2-small": "vit_small_patch14_dinov2",
    "levit-128S": "levit_128s",
}


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_name(name: str) -> None:
    assert canonical_name(name) == PAPERS[name]


def test_every_rule_is_met() -> None:
    texts = [paper_names._SEPARATORS.sub("-", name.strip().lower()) for name in PAPERS]
    for pattern, _ in paper_names.rules():
        assert any(paper_names._pattern(pattern).fullmatch(text) for text in texts), pattern


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ViT-B/17", "vit_base_patch1._224"),
        ("Swin-H", "swin_large_patch4"),
        ("vit_bace_patch16_224", "vit_base_patch16_224"),
    ],
)
def test_a_name_of_none_says_the_nearest(name: str, near: str) -> None:
    with pytest.raises(VitrailError, match=f"there is no model '{name}': did you mean .*{near}"):
        canonical_name(name)


@pytest.mark.parametrize(("name", "first"), [("DINOv2", "vit_small_patch14_dinov2"), ("SegFormer", "mit_b0")])
def test_a_family_without_a_first_choice_lists_its_variants(name: str, first: str) -> None:
    with pytest.raises(VitrailError, match=f"there is no model '{name}': choose one of {first}, "):
        canonical_name(name)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("num_layers", "depth"),
        ("img_size", "image_size"),
        ("in_chans", "in_channels"),
        ("hidden_size", "embed_dim"),
        ("n_heads", "num_heads"),
        ("num_labels", "num_classes"),
        ("mlp_dim", "mlp_ratio"),
        ("drop_path_rate", "drop_path"),
    ],
)
def test_another_librarys_word_leads_to_ours(word: str, ours: str) -> None:
    with pytest.raises(VitrailError, match=rf"vit_tiny_patch16_224 has no field '{word}': did you mean {ours}\?"):
        model_config("vit_tiny_patch16_224", **{word: 3})
