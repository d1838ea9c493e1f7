"""A user's script under mypy --strict: precise types, and misspelt words that a type checker finds."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RIGHT = """
from pathlib import Path

from torch import Tensor, zeros

import vitrail
from vitrail.checkpoint.contract import Checkpoint
from vitrail.models.dpt import DPTConfig
from vitrail.models.vit import ViTConfig
from vitrail.models.detr import DETRConfig
from vitrail.models.mae import MAEConfig
from vitrail.nn import Detections, TaskOutputs, Tokens, VisionModel

names: list[str] = vitrail.list_models("deit*")
config = ViTConfig(pool="attention", positions="sincos", position_mode="bilinear", num_classes=10)
model: VisionModel = config.build()
depth: int = config.build().config.depth
size: int | tuple[int, int] = vitrail.create_model("vit_tiny_patch16_224").config.image_size
channels: int = vitrail.create_model("ViT-B/16").config.in_channels
tokens: Tokens = model.forward_features(zeros(1, 3, 224, 224))
levels: tuple[Tokens, ...] = DPTConfig().build().forward_features(zeros(1, 3, 384, 384))
either: Tokens | tuple[Tokens, ...] = vitrail.create_model("dpt_base_384").forward_features(zeros(1, 3, 384, 384))
vector: Tensor = vitrail.create_model("clip_vit_base_patch32").embed_images(zeros(1, 3, 224, 224))
encoder: VisionModel = vitrail.VisionTransformer(depth=2)
logits: Tensor = model(zeros(1, 3, 224, 224))
pixels = zeros(1, 3, 224, 224)
boxes: Tensor = DETRConfig().build()(pixels).boxes
found: Detections = DETRConfig().build()(pixels)
outputs: TaskOutputs = vitrail.UniversalViT()(pixels)
hidden: Tensor = MAEConfig().build()(pixels).mask
depths: Tensor = DPTConfig().build()(pixels)
any_model = vitrail.create_model("detr_resnet50")
any_model(pixels).boxes
checkpoint: Checkpoint = vitrail.load(Path("run"), num_classes=10)
task: str = checkpoint.task.name
count: int = checkpoint.config.num_outputs
folded = vitrail.rewrite(model, "fold_layer_scale")
states: dict[str, Tensor] = vitrail.export_state_dict(folded, "timm")
vitrail.register("mine", config)
"""
WRONG = """
from torch import zeros

import vitrail
from vitrail.models.clip import CLIPConfig
from vitrail.models.detr import DETRConfig
from vitrail.models.mae import MAEConfig
from vitrail.models.vit import ViTConfig

ViTConfig(pool="clas")
ViTConfig(positions="sine")
ViTConfig(head="linaer")
ViTConfig(position_mode="cubic")
reveal_type(vitrail.create_model("vit_tiny_patch16_224"))
reveal_type(vitrail.load("run").config)
vitrail.create_model(3)
vitrail.create_model("vit_tiny_patch16_224").config.imgae_size
vitrail.load("run").model.config.num_outptus
ViTConfig().build().config.depht
ViTConfig().build().forward_features(3).grid
vitrail.VisionTransformer().config.patch_siez
vitrail.create_model("vit_tiny_patch16_224").forward_features(zeros(1, 3, 224, 224)).grid
ViTConfig().build()(zeros(1, 3, 224, 224)).sofmtax(1)
vitrail.VisionTransformer()(zeros(1, 3, 224, 224), 3)
DETRConfig().build()(zeros(1, 3, 224, 224)).bxoes
vitrail.UniversalViT()(zeros(1, 3, 224, 224)).dpeth
MAEConfig().build()(zeros(1, 3, 224, 224)).argmax(1)
CLIPConfig().build()(zeros(1, 3, 224, 224))
"""


def check(folder: Path, scripts: dict[str, str]) -> list[str]:
    """The lines that mypy prints on scripts outside of the project."""
    for name, script in scripts.items():
        (folder / name).write_text(script)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--no-error-summary"]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "user"), *scripts]
    path = {"MYPYPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=path, cwd=folder)
    return [line for line in done.stdout.splitlines() if line.startswith(tuple(scripts))]


@pytest.mark.exhaustive
def test_types_of_a_users_script(tmp_path: Path) -> None:
    found = check(tmp_path, {"right.py": RIGHT, "wrong.py": WRONG})
    assert [line for line in found if line.startswith("right.py")] == []
    assert [int(line.split(":")[1]) for line in found if "error" in line] == [10, 11, 12, 13, *range(16, 29)]
    assert any('"vitrail.nn.model.BaseVisionModel[vitrail.models.fields.ModelConfig, Any]"' in line for line in found)
    assert any('"vitrail.models.fields.ModelConfig"' in line for line in found)
