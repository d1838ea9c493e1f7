"""DPT (Ranftl et al., 2021, "Vision transformers for dense prediction"): depth or class logits for every pixel.

The tokens after four blocks of a ViT become maps of four sizes, which convolutions fuse from the coarsest to the
finest.
"""

from dataclasses import dataclass
from typing import Any

from ..nn import DepthHead, Levels, MultiLevelModel, SegmentationHead, init_vit
from ..task_spec import DEPTH, SEGMENTATION, TaskSpec
from .dpt_heads import dpt_decoder, dpt_depth, dpt_segmentation
from .fields import BlockFields, PositionedFields, Size, ViTFields
from .parts import patch_embed, vit_embed, vit_encoder
from .words import Interpolation


@dataclass(frozen=True, kw_only=True, slots=True)
class DPTConfig(ViTFields, PositionedFields, BlockFields):
    """DPT for depth, or for segmentation if there are classes.

    The output is inverse depth (B, H, W), larger for nearer objects, or logits (B, num_classes, H, W). Both have the
    image's size if its sides are even numbers of patches, and are a little larger if they are odd, as published.

    Attributes:
        num_classes: number of classes of the pixels; 0 for depth.
        after: indices, from 0, of the blocks whose tokens are used.
        widths: channels of the four maps when they are resized to 4, 2, 1 and 1/2 times the grid.
        fusion_dim: channels of the maps in the fusion.
        fusion_norm: use batch norms in the fusion, as in the published segmentation models.
    """

    image_size: Size = 384
    num_classes: int = 0
    after: tuple[int, ...] = (2, 5, 8, 11)
    widths: tuple[int, ...] = (96, 192, 384, 768)
    fusion_dim: int = 256
    fusion_norm: bool = False
    norm_eps: float = 1e-12
    position_mode: Interpolation = "bilinear"
    position_antialias: bool = False

    def resolve_task(self) -> TaskSpec:
        return SEGMENTATION if self.num_classes else DEPTH

    @property
    def equal_blocks(self) -> int:
        return 0  # the head uses the outputs of certain blocks

    def build(self) -> MultiLevelModel["DPTConfig"]:
        model = MultiLevelModel(
            embed=vit_embed(self, patch_embed(self)),
            encoder=Levels(vit_encoder(self).blocks, self.after),
            head=self.head(),
            config=self,
        )
        return model.apply(init_vit)

    def head(self) -> DepthHead | SegmentationHead:
        decoder = dpt_decoder(self.embed_dim, self.widths, self.fusion_dim, norm=self.fusion_norm)
        if not self.num_classes:
            return dpt_depth(decoder, self.fusion_dim)
        return dpt_segmentation(decoder, self.fusion_dim, self.num_classes, dropout=self.dropout)


LARGE: dict[str, Any] = {
    "embed_dim": 1024,
    "depth": 24,
    "num_heads": 16,
    "after": (5, 11, 17, 23),
    "widths": (256, 512, 1024, 1024),
}

VARIANTS = {
    "dpt_base_384": DPTConfig(),
    "dpt_large_384": DPTConfig(**LARGE),
    "dpt_large_segmentation_384": DPTConfig(num_classes=150, fusion_norm=True, **LARGE),
}

PAPER_NAMES = (
    (r"dpt", "dpt_large_384"),
    (r"dpt-<size>", "dpt_{size}_384"),
)
