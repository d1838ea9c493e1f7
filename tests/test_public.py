"""The public face: these names are promised."""

import subprocess
import sys

import vitrail


def test_public_names_are_pinned() -> None:
    assert vitrail.__all__ == [
        "Checkpoint",
        "ModelConfig",
        "ObjectiveConfig",
        "Predictor",
        "Preprocess",
        "Recipe",
        "Run",
        "SimpleViT",
        "Source",
        "TaskSpec",
        "TransformerBlock",
        "UniversalViT",
        "VisionTransformer",
        "VitrailError",
        "adaptive_token_pruning",
        "attribute",
        "convert",
        "convert_state_dict",
        "create_model",
        "create_vit_model",
        "distill_from_teacher",
        "edit_attention",
        "edit_features",
        "embed",
        "evaluate",
        "explain",
        "explore",
        "export_state_dict",
        "list_models",
        "list_recipes",
        "load",
        "make_predictor",
        "observe_attention",
        "observe_features",
        "open_source",
        "plan",
        "predict",
        "pretrain",
        "register",
        "register_objective",
        "register_rewrite",
        "register_teacher",
        "resume",
        "rewrite",
        "rollout",
        "save",
        "source_from_dataset",
        "source_from_images",
        "store_logits",
        "train",
        "visualize_attention",
        "visualize_attention_weights",
        "visualize_patches",
    ]


def test_every_public_name_is_there_and_documented() -> None:
    for name in vitrail.__all__:
        assert getattr(vitrail, name).__doc__, name


def test_importing_is_light() -> None:
    code = "import sys, vitrail; print(sorted({'torch', 'numpy', 'PIL', 'argparse'} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
