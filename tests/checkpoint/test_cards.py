"""What a configuration says that we do not compute is refused, and never passed over."""

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from vitrail.checkpoint.foreign_config import read_card
from vitrail.errors import VitrailError

# transformers' configurations, a field of each that changes what is computed, and a value that is not ours.
ODD: list[tuple[str, dict[str, Any]]] = [
    ("ViT", {"hidden_act": "relu"}),
    ("ViT", {"qkv_bias": False}),
    ("DeiT", {"hidden_act": "gelu_new"}),
    ("Beit", {"use_relative_position_bias": True, "hidden_act": "relu"}),
    ("ConvNext", {"hidden_act": "relu"}),
    ("ConvNext", {"hidden_sizes": [96, 192, 384, 700]}),
    ("Cvt", {"patch_sizes": [7, 3, 5]}),
    ("Cvt", {"patch_stride": [4, 2, 1]}),
    ("Cvt", {"patch_padding": [3, 1, 1]}),
    ("Cvt", {"mlp_ratio": [4.0, 4.0, 2.0]}),
    ("Cvt", {"qkv_bias": [True, True, False]}),
    ("Cvt", {"cls_token": [False, False, False]}),
    ("Cvt", {"qkv_projection_method": ["dw_bn", "dw_bn", "avg"]}),
    ("Cvt", {"kernel_qkv": [3, 3, 5]}),
    ("Cvt", {"padding_kv": [1, 1, 0]}),
    ("Cvt", {"stride_kv": [2, 2, 1]}),
    ("Cvt", {"padding_q": [1, 1, 0]}),
    ("Cvt", {"stride_q": [1, 1, 2]}),
    ("Detr", {"activation_function": "gelu"}),
    ("Detr", {"dilation": True}),
    ("Swin", {"layer_norm_eps": 1e-6}),
    ("Swinv2", {"layer_norm_eps": 1e-6}),
    ("Detr", {"decoder_attention_heads": 4}),
    ("Dinov2", {"hidden_act": "relu"}),
    ("Dinov2", {"qkv_bias": False}),
    ("DINOv3ViT", {"key_bias": True}),
    ("DINOv3ViT", {"hidden_act": "relu"}),
    ("DPT", {"readout_type": "add"}),
    ("DPT", {"hidden_act": "relu"}),
    ("Levit", {"key_dim": [16, 16, 32]}),
    ("Levit", {"attention_ratio": [2, 2, 4]}),
    ("Levit", {"mlp_ratio": [2, 2, 4]}),
    ("Levit", {"kernel_size": 5}),
    ("Levit", {"patch_size": 32}),
    ("Pvt", {"patch_sizes": [4, 2, 2, 4]}),
    ("Pvt", {"strides": [4, 2, 2, 1]}),
    ("Pvt", {"hidden_act": "relu"}),
    ("PvtV2", {"patch_sizes": [7, 3, 3, 5]}),
    ("PvtV2", {"strides": [4, 2, 2, 1]}),
    ("PvtV2", {"hidden_act": "relu"}),
    ("ResNet", {"embedding_size": 32}),
    ("ResNet", {"depths": [3, 4, 6, 4]}),
    ("ResNet", {"downsample_in_bottleneck": True}),
    ("Segformer", {"patch_sizes": [7, 3, 3, 5]}),
    ("Segformer", {"strides": [4, 2, 2, 1]}),
    ("Segformer", {"hidden_act": "relu"}),
    ("Swin", {"hidden_act": "relu"}),
    ("Swin", {"use_absolute_embeddings": True}),
    ("Swin", {"qkv_bias": False}),
    ("Swinv2", {"hidden_act": "relu"}),
    ("Swinv2", {"use_absolute_embeddings": True}),
    ("Timesformer", {"hidden_act": "relu"}),
    ("VideoMAE", {"hidden_act": "relu"}),
    ("ViTMAE", {"hidden_act": "relu"}),
]


@pytest.mark.parametrize(("kind", "values"), ODD, ids=lambda value: str(value))
def test_an_odd_value_is_refused(kind: str, values: dict[str, Any], tmp_path: Path) -> None:
    getattr(transformers, f"{kind}Config")(**values).save_pretrained(tmp_path)
    name, value = list(values.items())[-1]
    with pytest.raises(VitrailError) as error:
        read_card(tmp_path)
    assert str(value) in str(error.value)
    assert " supported" in str(error.value) or name in ("hidden_act", "hidden_sizes")


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in ODD} - {"Beit"}))
def test_the_usual_values_are_read(kind: str, tmp_path: Path) -> None:
    getattr(transformers, f"{kind}Config")().save_pretrained(tmp_path)
    card = read_card(tmp_path)
    assert card.config is not None or kind in ("ViT", "DeiT")


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
@pytest.mark.parametrize("values", [{"hidden_act": "gelu"}, {"layer_norm_eps": 0.1}], ids=["activation", "norm"])
def test_encoders_that_compute_differently(kind: str, values: dict[str, Any], tmp_path: Path) -> None:
    getattr(transformers, f"{kind}Config")(text_config=values).save_pretrained(tmp_path)
    with pytest.raises(VitrailError, match=f"{next(iter(values))} .* for images and .* for texts: only equal"):
        read_card(tmp_path)


SHORT, CONVNEXT = {"shortest_edge": 224}, {"crop_pct": 0.9, "image_processor_type": "ConvNextImageProcessor"}


@pytest.mark.parametrize(
    ("values", "crop", "stretched"),
    [
        ({"size": SHORT, **CONVNEXT}, 0.9, False),
        ({"size": {"shortest_edge": 384}, **CONVNEXT}, 1.0, True),
        ({"size": SHORT, "do_center_crop": True, "image_processor_type": "LevitImageProcessor"}, 0.875, False),
        ({"size": {"height": 224, "width": 224}, "image_processor_type": "ViTImageProcessor"}, 1.0, True),
        ({"size": 256, "crop_size": 224, "do_center_crop": True}, 0.875, True),
        (
            {"size": 256, "crop_size": 224, "do_center_crop": True, "image_processor_type": "CLIPImageProcessor"},
            0.875,
            False,
        ),
    ],
)
def test_how_much_of_a_picture_is_seen(values: dict[str, Any], crop: float, stretched: bool, tmp_path: Path) -> None:
    transformers.ConvNextConfig().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    card = read_card(tmp_path)
    assert card.preprocess["crop"] == crop
    assert card.preprocess["image_size"] == (224, 224) or "384" in str(values)
    assert card.preprocess["stretch"] == stretched
    assert not card.notes


def test_an_incomplete_configuration_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "swin", "image_size": 224}))
    with pytest.raises(VitrailError, match="has no 'patch_size': get the file again"):
        read_card(tmp_path)


@pytest.mark.parametrize(("arguments", "read"), [({"img_size": 96}, True), ({"act_layer": "relu"}, False)])
def test_what_a_model_of_timm_was_built_with(arguments: dict[str, Any], read: bool, tmp_path: Path) -> None:
    card = {"architecture": "vit_tiny_patch16_224", "model_args": arguments}
    (tmp_path / "config.json").write_text(json.dumps(card))
    if read:
        assert read_card(tmp_path).architecture == "vit_tiny_patch16_224"
    else:
        with pytest.raises(VitrailError, match="was built with act_layer='relu', and ViTConfig has no such field"):
            read_card(tmp_path)
