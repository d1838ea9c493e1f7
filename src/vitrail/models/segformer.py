"""SegFormer (Xie et al., 2021, "SegFormer: simple and efficient design for semantic segmentation with transformers").

The encoder, MiT ("mix transformer"), is PVT v2 with an MLP ratio of 4 in all stages. The decoder consists of linear
layers on the four levels, which are joined on the finest grid.
"""

from dataclasses import dataclass
from functools import partial

from ..nn import AllMLPHead, Levels, MultiLevelModel, init_convolutions, init_vit
from ..task_spec import SEGMENTATION, TaskSpec
from .fields import Size
from .pvt import PVTFields
from .pvt_v2 import B0, B2, B3, B4, B5, PVTv2Config, mix_embed, mix_stages

RATIOS = (4.0, 4.0, 4.0, 4.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegFormerConfig(PVTFields):
    """SegFormer: MiT with the all-MLP decoder: pixels (B, C, H, W) -> logits (B, num_classes, ⌈H / 4⌉, ⌈W / 4⌉).

    Attributes:
        decoder_dim: width inside the decoder.
        decoder_dropout: rate of dropout before its classifier.
    """

    task: TaskSpec = SEGMENTATION
    image_size: Size = 512
    num_classes: int = 150
    mlp_ratios: tuple[float, ...] = RATIOS
    decoder_dim: int = 768
    decoder_dropout: float = 0.1

    def build(self) -> MultiLevelModel["SegFormerConfig"]:
        stages = mix_stages(self)
        model = MultiLevelModel(
            embed=mix_embed(self),
            encoder=Levels(stages, after=tuple(range(len(stages)))),
            head=AllMLPHead(self.embed_dims, self.decoder_dim, self.num_classes, dropout=self.decoder_dropout),
            config=self,
        )
        return model.apply(init_vit).apply(init_convolutions)


MiT = partial(PVTv2Config, mlp_ratios=RATIOS)

VARIANTS = {
    "mit_b0": MiT(**B0),
    "mit_b1": MiT(),
    "mit_b2": MiT(**B2),
    "mit_b3": MiT(**B3),
    "mit_b4": MiT(**B4),
    "mit_b5": PVTv2Config(**B5),
    "segformer_b0": SegFormerConfig(decoder_dim=256, **B0),
    "segformer_b1": SegFormerConfig(decoder_dim=256),
    "segformer_b2": SegFormerConfig(**B2),
    "segformer_b3": SegFormerConfig(**B3),
    "segformer_b4": SegFormerConfig(**B4),
    "segformer_b5": SegFormerConfig(**B5),
}

PAPER_NAMES = (
    (r"mit-b<number>", "mit_b{number}"),
    (r"segformer-b<number>", "segformer_b{number}"),
)
