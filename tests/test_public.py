"""The public face: these names are promised."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

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
        "export",
        "export_state_dict",
        "list_models",
        "list_recipes",
        "load",
        "make_predictor",
        "observe_attention",
        "observe_features",
        "open_source",
        "optimize",
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


def test_predicting_imports_neither_torchvision_nor_a_compiler_nor_the_layouts_of_all_families(tmp_path: Path) -> None:
    checkpoint = vitrail.Checkpoint(
        vitrail.create_model("vit_tiny_patch16_224", image_size=32, depth=1, num_classes=2),
        ("a", "b"),
        vitrail.Preprocess(image_size=(32, 32)),
    )
    vitrail.save(checkpoint, tmp_path / "checkpoint")
    Image.new("RGB", (40, 50)).save(tmp_path / "image.jpg")
    code = (
        "import sys, torch\n"
        "its_own = set(sys.modules)\n"
        "from vitrail.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "late = {'torchvision', 'torch._dynamo', 'sympy', 'huggingface_hub', 'matplotlib', 'rich'}\n"
        "late |= {'vitrail.checkpoint.convert'}\n"
        "print(sorted((late & sys.modules.keys()) - its_own), file=sys.stderr)"
    )
    words = ["predict", str(tmp_path / "checkpoint"), str(tmp_path / "image.jpg")]
    ran = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "[]", ran.stderr
