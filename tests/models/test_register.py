"""Configs of one's own: registered, trained, saved, loaded; and those that other packages add by entry points."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

import vitrail
from vitrail.checkpoint.contract import Checkpoint, load, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models import families
from vitrail.models.fields import ClassifierFields, pair
from vitrail.nn import Embedding, Encoder, Head, MeanPool, PatchEmbed, VisionModel
from vitrail.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class PatchesOnlyConfig(ClassifierFields):
    """Patches, and a classifier of their mean."""

    image_size: int = 8
    num_classes: int = 3
    patch_size: int = 4
    width: int = 6

    def build(self) -> VisionModel:
        patches = PatchEmbed(self.in_channels, self.width, pair(self.patch_size))
        classify = nn.Linear(self.width, self.num_classes) if self.num_classes else nn.Identity()
        return VisionModel(Embedding(patches), Encoder([]), Head(MeanPool(), classify), config=self)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    monkeypatch.setattr(families, "_registered", {})


def test_a_registered_config_is_a_model_like_any_other(tmp_path: Path) -> None:
    vitrail.register("patches_only", PatchesOnlyConfig())
    assert "patches_only" in vitrail.list_models("patches*")
    model = vitrail.create_model("patches_only", num_classes=2)
    save(Checkpoint(model, ("a", "b"), Preprocess(image_size=(8, 8))), tmp_path / "x")
    again = load(tmp_path / "x")
    assert again.info["architecture"] == "patches_only"
    assert again.model.config == PatchesOnlyConfig(num_classes=2)
    pixels = torch.randn(2, 3, 8, 8)
    assert torch.equal(again.model(pixels), model(pixels))


def test_it_can_be_trained(tmp_path: Path) -> None:
    vitrail.register("patches_only", PatchesOnlyConfig())
    recipe = Recipe(model="patches_only", steps=1, workers=0, device="cpu", batch_size=8)
    run = vitrail.train("digits", recipe, out=tmp_path / "run")
    assert load(tmp_path / "run").model.config == run.checkpoint.model.config
    assert isinstance(run.checkpoint.model.config, PatchesOnlyConfig)


def test_what_is_not_registered_is_not_loaded(tmp_path: Path) -> None:
    save(Checkpoint(PatchesOnlyConfig().build(), (), Preprocess()), tmp_path / "x")
    with pytest.raises(VitrailError, match=r"no config class 'PatchesOnlyConfig': .*vitrail\.register\(name, config\)"):
        load(tmp_path / "x")


def test_names_are_not_taken_twice() -> None:
    vitrail.register("patches_only", PatchesOnlyConfig())
    vitrail.register("patches_only", PatchesOnlyConfig())
    with pytest.raises(VitrailError, match="there is already a model 'patches_only'"):
        vitrail.register("patches_only", PatchesOnlyConfig(width=5))
    with pytest.raises(VitrailError, match="a frozen dataclass that inherits from ModelConfig"):
        vitrail.register("mine", 3)  # type: ignore[arg-type]

    @dataclass(frozen=True, kw_only=True, slots=True)
    class ViTConfig(ClassifierFields):
        def build(self) -> VisionModel:
            raise NotImplementedError

    with pytest.raises(VitrailError, match=r"there is already a class ViTConfig in vitrail\.models\.vit"):
        vitrail.register("mine", ViTConfig())


PACKAGE = """
from dataclasses import dataclass
from vitrail.models.vit import ViTConfig
from vitrail.models.fields import ClassifierFields

@dataclass(frozen=True, kw_only=True, slots=True)
class RingConfig(ClassifierFields):
    rings: int = 2
    def build(self):
        return ViTConfig(image_size=32, embed_dim=8, depth=1, num_heads=2, num_classes=self.num_classes).build()

RING = RingConfig()
"""
LIST = """
import sys, vitrail
assert vitrail.list_models("ring*") == ["ring_vit"]
assert "ring_package" not in sys.modules
assert vitrail.create_model("ring_vit", num_classes=7).head.classify.out_features == 7
"""
CLASS = """
from vitrail.checkpoint.document import config_from_dict
print(config_from_dict({"type": "RingConfig", "rings": 3}, "x").rings)
"""


@pytest.mark.parametrize(("script", "printed"), [(LIST, ""), pytest.param(CLASS, "3\n", marks=pytest.mark.exhaustive)])
def test_a_package_adds_a_family(tmp_path: Path, script: str, printed: str) -> None:
    (tmp_path / "ring_package.py").write_text(PACKAGE)
    info = tmp_path / "ring_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ring-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[vitrail.families]\nring_vit = ring_package:RING\n")
    paths = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    done = subprocess.run([sys.executable, "-c", paths + script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr
