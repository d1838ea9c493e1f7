"""DINO (Caron et al., 2021, "Emerging properties in self-supervised vision transformers").

The backbones are ViTs. The pre-training models compare what they see with prototypes, 65536 classes that nobody named:
a student learns to answer as its teacher does, which is the student's running mean.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from ..nn.embed import Embedding, PatchEmbed
from ..nn.head import FirstToken, Head
from ..nn.init import init_vit
from ..nn.model import VisionModel
from ..nn.positions import LearnedPositions
from ..nn.prefix import PrefixTokens
from ..nn.prototypes import PrototypeHead
from .parts import Size, pair, vit_encoder
from .vit import SMALL, ViTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DINOConfig:
    """A ViT with the projection head of the pre-training (section 3.1).

    Attributes:
        num_classes: how many prototypes.
        hidden_dim, bottleneck_dim: widths inside the head and in front of the prototypes.
        other fields: as in `ViTConfig`.
    """

    task: ClassVar[str] = "self-distillation"

    image_size: Size = 224
    patch_size: Size = 16
    in_channels: int = 3
    num_classes: int = 65536
    embed_dim: int = 768
    depth: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    hidden_dim: int = 2048
    bottleneck_dim: int = 256
    drop_path: float = 0.0
    dropout: float = 0.0
    norm_eps: float = 1e-6
    pad: bool = False
    position_mode: str = "bicubic"
    position_antialias: bool = False

    def build(self) -> VisionModel:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size), pad=self.pad)
        positions = LearnedPositions(
            patches.grid(pair(self.image_size)),
            dim,
            prefix=1,
            mode=self.position_mode,
            antialias=self.position_antialias,
        )
        compare = PrototypeHead(dim, self.num_classes, hidden_dim=self.hidden_dim, bottleneck_dim=self.bottleneck_dim)
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim), positions=positions),
            encoder=vit_encoder(self),
            head=Head(FirstToken(), compare),
            config=self,
        )
        return model.apply(init_vit)


Backbone = partial(ViTConfig, num_classes=0, position_antialias=False)
EIGHT: dict[str, Any] = {"patch_size": 8}

VARIANTS = {
    "dino_vits16": Backbone(**SMALL),
    "dino_vits8": Backbone(**SMALL, **EIGHT),
    "dino_vitb16": Backbone(),
    "dino_vitb8": Backbone(**EIGHT),
    "dino_vits16_pretraining": DINOConfig(**SMALL),
    "dino_vits8_pretraining": DINOConfig(**SMALL, **EIGHT),
    "dino_vitb16_pretraining": DINOConfig(),
    "dino_vitb8_pretraining": DINOConfig(**EIGHT),
}
