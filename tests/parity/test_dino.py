"""DINO's backbones against timm, and its head, under the release's names, against torch's own layers."""

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import vitrail
from vitrail.models.dino import VARIANTS, DINOConfig
from vitrail.models.registry import model_config
from vitrail.models.vit import ViTConfig

from .references import assert_same, count, loaded, on_meta, randomise

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 3}


class Release(nn.Module):
    """A backbone and the head of the release, put together from torch's layers."""

    def __init__(self, backbone: nn.Module, dim: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.last_layer = nn.utils.parametrizations.weight_norm(nn.Linear(bottleneck, prototypes, bias=False))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.last_layer(nn.functional.normalize(self.mlp(self.backbone(pixels)), dim=-1, p=2))

    def released(self) -> dict[str, Tensor]:
        """The state under the names of the released files."""
        state = {f"module.backbone.{name}": tensor for name, tensor in self.backbone.state_dict().items()}
        state |= {f"module.head.mlp.{name}": tensor for name, tensor in self.mlp.state_dict().items()}
        weight = self.last_layer.parametrizations.weight
        return state | {
            "module.head.last_layer.weight_g": weight.original0,
            "module.head.last_layer.weight_v": weight.original1,
        }


def timm_name(row: ViTConfig | DINOConfig) -> str:
    return f"vit_{'small' if row.embed_dim == 384 else 'base'}_patch{row.patch_size}_224"


@pytest.mark.parametrize("name", VARIANTS)
def test_parameters_of_every_row(name: str) -> None:
    row = VARIANTS[name]
    theirs = on_meta(lambda: timm.create_model(timm_name(row), num_classes=0))
    head = 0
    if isinstance(row, DINOConfig):
        head = (row.embed_dim + 1) * 2048 + 2049 * 2048 + 2049 * 256 + 65536 * 256
    assert count(on_meta(lambda: vitrail.create_model(name))) == count(theirs) + head


@pytest.mark.parametrize("name", ["dino_vits16", "dino_vits8"])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_backbones(name: str, size: tuple[int, int]) -> None:
    theirs = randomise(timm.create_model(timm_name(VARIANTS[name]), img_size=size, num_classes=0, **SMALL))
    assert_same(loaded(model_config(name, image_size=size, **SMALL), theirs), theirs, torch.randn(2, 3, *size))


@pytest.mark.parametrize("channels", [1, 4])
def test_prototypes_under_the_names_of_the_release(channels: int) -> None:
    backbone = timm.create_model("vit_small_patch16_224", img_size=64, num_classes=0, in_chans=channels, **SMALL)
    theirs = randomise(Release(backbone, 48, 64, 16, 96))
    config = DINOConfig(image_size=64, in_channels=channels, num_classes=96, hidden_dim=64, bottleneck_dim=16, **SMALL)
    assert_same(loaded(config, theirs.released()), theirs, torch.randn(3, channels, 64, 64))


def test_the_backbone_under_the_head_is_what_is_fine_tuned() -> None:
    model = DINOConfig(**SMALL, image_size=32, num_classes=11, hidden_dim=16, bottleneck_dim=8).build().eval()
    backbone = model.config.fine_tuned().build().eval()
    backbone.load_state_dict(model.config.fine_tuned_state(model.state_dict()))
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(backbone(pixels), model.embed_images(pixels), rtol=0, atol=0)
