"""The public face: these names are promised."""

import subprocess
import sys

import vitrail


def test_public_names_are_pinned() -> None:
    assert vitrail.__all__ == [
        "Checkpoint",
        "ModelConfig",
        "Recipe",
        "Run",
        "SimpleViT",
        "TransformerBlock",
        "UniversalViT",
        "VisionTransformer",
        "ablate",
        "convert_state_dict",
        "create_model",
        "create_vit_model",
        "evaluate",
        "export_state_dict",
        "features",
        "list_models",
        "load",
        "observe",
        "patch_features",
        "predict",
        "register",
        "rewrite",
        "rollout",
        "save",
        "train",
        "visualize_attention_weights",
        "visualize_patches",
    ]


def test_every_public_name_is_there_and_documented() -> None:
    for name in vitrail.__all__:
        assert getattr(vitrail, name).__doc__, name


def test_importing_is_light() -> None:
    code = "import sys, vitrail; print(sorted({'torch', 'numpy', 'PIL', 'tyro'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
