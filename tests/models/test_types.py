"""A user's script under mypy --strict: precise types, and misspelt words that a type checker finds."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RIGHT = """
from pathlib import Path

from torch import Tensor, zeros

import vitrail
from vitrail.checkpoint.contract import Checkpoint
from vitrail.models.vit import ViTConfig
from vitrail.nn import VisionModel

names: list[str] = vitrail.list_models("deit*")
config = ViTConfig(pool="attention", positions="sincos", position_mode="bilinear", num_classes=10)
model: VisionModel = config.build()
logits: Tensor = model(zeros(1, 3, 224, 224))
checkpoint: Checkpoint = vitrail.load(Path("run"), num_classes=10)
task: str = checkpoint.task.name
outputs: int = checkpoint.config.num_outputs
folded = vitrail.rewrite(model, "fold_layer_scale")
states: dict[str, Tensor] = vitrail.export_state_dict(folded, "timm")
vitrail.register("mine", config)
"""
WRONG = """
import vitrail
from vitrail.models.vit import ViTConfig

ViTConfig(pool="clas")
ViTConfig(positions="sine")
ViTConfig(head="linaer")
ViTConfig(position_mode="cubic")
reveal_type(vitrail.create_model("vit_tiny_patch16_224"))
reveal_type(vitrail.load("run").config)
vitrail.create_model(3)
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


def test_types_of_a_users_script(tmp_path: Path) -> None:
    found = check(tmp_path, {"right.py": RIGHT, "wrong.py": WRONG})
    assert [line for line in found if line.startswith("right.py")] == []
    assert [int(line.split(":")[1]) for line in found if "error" in line] == [5, 6, 7, 8, 11]
    assert any("AnyVisionModel" in line for line in found)
    assert any("ModelConfig" in line for line in found)
