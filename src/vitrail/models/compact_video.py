"""Compact video model: a convolutional stem over space and time, and a short ViT, for small data and small machines.

The ViT attends to all tokens of all frames, as in "joint" TimeSformers; see LOG.md for the effect of the stem's choices
on clips of moving objects.
"""

from dataclasses import dataclass

from ..nn import Embedding, Head, LearnedPositions, MeanPool, MotionStem, VisionModel, init_vit
from .fields import BlockFields, ClassifierFields, PositionedFields, Size, pair
from .parts import classifier, vit_encoder


@dataclass(frozen=True, kw_only=True, slots=True)
class CompactVideoConfig(PositionedFields, BlockFields, ClassifierFields):
    """Stem over space and time, learned positions, pre-norm blocks, mean over the tokens.

    Attributes:
        num_frames: number of frames T of a clip; other numbers resample the positions.
        stem: widths of the convolutions before the last, which has the width of the tokens; each halves the map, and
            the last the frames too.
    """

    image_size: Size = 64
    num_frames: int = 8
    num_classes: int = 10
    stem: tuple[int, ...] = (16, 32)
    embed_dim: int = 96
    depth: int = 3
    num_heads: int = 3
    mlp_ratio: float = 2.0

    @property
    def pixels_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.num_frames, *pair(self.image_size))

    def build(self) -> VisionModel["CompactVideoConfig"]:
        dim = self.embed_dim
        stem = MotionStem(self.in_channels, (*self.stem, dim))
        grid = stem.grid((self.num_frames, *pair(self.image_size)))
        positions = LearnedPositions(grid, dim, mode=self.position_mode, antialias=self.position_antialias)
        model = VisionModel(
            embed=Embedding(stem, positions=positions),
            encoder=vit_encoder(self),
            head=Head(MeanPool(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


VARIANTS = {"compact_video_small_64": CompactVideoConfig()}
