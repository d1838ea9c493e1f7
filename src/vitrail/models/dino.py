"""DINO (Caron et al., 2021, "Emerging properties in self-supervised vision transformers").

The backbones are ViTs. The pre-training models compare the class token with 65,536 prototypes; a student is trained to
match the output of a teacher, whose weights are a moving average of the student's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor

from ..nn import Embedding, FirstToken, Head, PrefixTokens, PrototypeHead, VisionModel, init_vit
from ..task_spec import EMBEDDING, TaskSpec
from .fields import BlockFields, PositionedFields, ViTFields, shared_fields
from .parts import learned_positions, patch_embed, vit_encoder
from .vit import SMALL, ViTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DINOConfig(ViTFields, PositionedFields, BlockFields):
    """A ViT with DINO's projection head (section 3.1).

    Attributes:
        num_classes: number of prototypes. They are not classes; the task is embedding.
        hidden_dim, bottleneck_dim: widths inside the head and before the prototypes.
    """

    task: TaskSpec = EMBEDDING
    num_classes: int = 65536
    hidden_dim: int = 2048
    bottleneck_dim: int = 256
    position_antialias: bool = False

    def classifier_changes(self) -> Mapping[str, Any]:
        return {}  # prototypes are not classes

    def fine_tuned(self) -> ViTConfig:
        """Config of the ViT under the projection head."""
        found = shared_fields(self, ViTConfig)
        del found["task"]
        return ViTConfig(**{**found, "num_classes": 0})

    def fine_tuned_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of embedding and encoder."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}

    def build(self) -> VisionModel["DINOConfig"]:
        dim = self.embed_dim
        patches = patch_embed(self)
        positions = learned_positions(self, patches, prefix=1)
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

PAPER_NAMES = (
    (r"dino", "dino_vits16"),
    (r"dino-vit-?(?P<letter>[sb])-?<patch>", "dino_vit{letter}{patch}"),
)
