"""Names of foreign weights that another package adds by an entry point: read, and written again."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import vitrail
from tests.plugin_package import install
from vitrail.errors import VitrailError
from vitrail.models.vit import ViTConfig

MODULE = """
from vitrail.checkpoint.convert.rename import Layout, Rule
from vitrail.models.vit import ViTConfig

CONFIG = ViTConfig(image_size=32, embed_dim=8, depth=1, num_heads=2, num_classes=2)
LAYOUTS = (Layout("rings", tuple(Rule(name, (f"ring_{name}",)) for name in CONFIG.build().state_dict())),)
CONFIGS = {"ring": lambda values: CONFIG}
"""


def model_and_folder(tmp_path: Path) -> tuple[torch.nn.Module, Path]:
    """A small model, and a folder with its weights under the package's names."""
    model = ViTConfig(image_size=32, embed_dim=8, depth=1, num_heads=2, num_classes=2).build()
    folder = tmp_path / "ring"
    folder.mkdir()
    save_file({f"ring_{name}": value for name, value in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "ring", "image_size": 32}))
    return model, folder


def test_weights_in_the_names_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, folder = model_and_folder(tmp_path)
    with pytest.raises(VitrailError, match="describes 'ring'"):
        vitrail.load(folder)
    install(monkeypatch, tmp_path, "ring_names", MODULE, "[vitrail.layouts]\nring = ring_names\n")
    loaded = vitrail.load(folder).model
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())
    again = vitrail.export_state_dict(loaded, "rings")
    assert again.keys() == {f"ring_{name}" for name in model.state_dict()}
