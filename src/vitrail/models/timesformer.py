"""TimeSformer (Bertasius et al., 2021, "Is space-time attention all you need for video understanding?", section 3).

ViT on the frames of a video. With divided attention, a token attends along time and then inside its frame: to T + H W
tokens instead of T H W.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from ..errors import VitrailError, nearest
from ..nn import (
    MLP,
    AxisPositions,
    Block,
    Embedding,
    Encoder,
    FirstToken,
    FrameAttention,
    Head,
    LearnedPositions,
    MeanOverFrames,
    MultiHeadAttention,
    PrefixForEachFrame,
    PrefixTokens,
    SpaceAttention,
    TimeAttention,
    TubeletEmbed,
    VisionModel,
    init_vit,
    linear_rates,
)
from .fields import BlockFields, PositionedFields, ViTFields, pair
from .parts import classifier, pre_norm, vit_attention
from .words import Interpolation, VideoAttention


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSformerConfig(ViTFields, PositionedFields, BlockFields):
    """TimeSformer: a ViT for videos (B, C, T, H, W).

    Attributes:
        num_frames: number of frames T of the learned time positions; other numbers resample them.
        attention: "divided" (time, then space), "joint" (all tokens of all frames) or "space" (inside each frame,
        which has its own class token; the classifier takes their mean).
    """

    num_frames: int = 8
    num_classes: int = 400
    attention: VideoAttention = "divided"
    position_mode: Interpolation = "nearest"
    position_antialias: bool = False

    @property
    def pixels_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.num_frames, *pair(self.image_size))

    def build(self) -> VisionModel["TimeSformerConfig"]:
        if self.attention not in COMPOSITIONS:
            raise VitrailError(f"there is no attention {self.attention!r}: {nearest(self.attention, COMPOSITIONS)}")
        return COMPOSITIONS[self.attention](self)

    def embed(self, **behind: nn.Module) -> Embedding:
        """Build the embedding: patches of every frame, a class token, equal positions in every frame, further parts."""
        dim = self.embed_dim
        patches = TubeletEmbed(self.in_channels, dim, (1, *pair(self.patch_size)), pad=self.pad)
        _, rows, columns = patches.grid((self.num_frames, *pair(self.image_size)))
        positions = LearnedPositions(
            (rows, columns), dim, prefix=1, mode=self.position_mode, antialias=self.position_antialias
        )
        return Embedding(patches, prefix=PrefixTokens(dim), positions=positions, **behind)

    def times(self) -> AxisPositions:
        mode, antialias = self.position_mode, self.position_antialias
        return AxisPositions(0, self.num_frames, self.embed_dim, mode=mode, antialias=antialias)

    def heads(self, index: int, *, twice: bool = False) -> MultiHeadAttention:
        """The heads of a block, counted from 0; `twice` adds a second linear layer after them, see TimeProjection."""
        dim, widths = self.embed_dim, self.block_widths(index)
        width = widths.num_heads * (widths.head_dim or dim // widths.num_heads)
        project = TimeProjection(width, dim) if twice else None
        return vit_attention(dim, widths.num_heads, widths.head_dim, project=project, dropout=self.dropout)

    def model(
        self, embed: Embedding, looks: Callable[[int], dict[str, nn.Module]], *ends: nn.Module
    ) -> VisionModel["TimeSformerConfig"]:
        """Blocks of the attentions made by `looks` and an MLP, followed by `ends`."""
        dim = self.embed_dim
        blocks: list[nn.Module] = []
        for index, rate in enumerate(linear_rates(self.drop_path, self.depth)):
            residual = partial(pre_norm, dim, drop_path=rate, norm_eps=self.norm_eps)
            hidden = self.block_widths(index).mlp_dim or int(dim * self.mlp_ratio)
            mlp = MLP(dim, hidden, dropout=self.dropout)
            blocks.append(Block(**{name: residual(branch) for name, branch in looks(index).items()}, mlp=residual(mlp)))
        model = VisionModel(
            embed=embed,
            encoder=Encoder([*blocks, *ends], norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=Head(FirstToken(), classifier(dim, self.num_classes)),
            config=self,
        )
        return model.apply(init_vit)


class TimeProjection(nn.Sequential):
    """Output projection of attention along time: a linear layer, and a second one that starts at zero."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.add_module("project", nn.Linear(width, dim))
        self.add_module("dense", nn.Linear(dim, dim))


def _divided(config: TimeSformerConfig) -> VisionModel[TimeSformerConfig]:
    def looks(index: int) -> dict[str, nn.Module]:
        time = TimeAttention(config.heads(index, twice=True))
        return {"time": time, "space": SpaceAttention(config.heads(index))}

    model = config.model(config.embed(times=config.times()), looks)
    # Every block but the first starts as ViT's, as in the published code.
    for module in [module for module in model.modules() if isinstance(module, TimeProjection)][1:]:
        nn.init.zeros_(module.get_submodule("dense").get_parameter("weight"))
    return model


def _joint(config: TimeSformerConfig) -> VisionModel[TimeSformerConfig]:
    return config.model(config.embed(times=config.times()), lambda index: {"attention": config.heads(index)})


def _space(config: TimeSformerConfig) -> VisionModel[TimeSformerConfig]:
    embed = config.embed(frames=PrefixForEachFrame())
    return config.model(embed, lambda index: {"attention": FrameAttention(config.heads(index))}, MeanOverFrames())


COMPOSITIONS: dict[str, Callable[[TimeSformerConfig], VisionModel[TimeSformerConfig]]] = {
    "divided": _divided,
    "joint": _joint,
    "space": _space,
}

VARIANTS = {
    "timesformer_base_patch16_224": TimeSformerConfig(),
    "timesformer_hr_patch16_448": TimeSformerConfig(image_size=448, num_frames=16),
    "timesformer_large_patch16_224": TimeSformerConfig(num_frames=96),
    "timesformer_joint_patch16_224": TimeSformerConfig(attention="joint"),
    "timesformer_space_patch16_224": TimeSformerConfig(attention="space"),
}

PAPER_NAMES = (
    (r"timesformer", "timesformer_base_patch16_224"),
    (r"timesformer-hr", "timesformer_hr_patch16_448"),
    (r"timesformer-l", "timesformer_large_patch16_224"),
)
