"""A ViT of any family with a head for the classes or the depth of the pixels: one linear layer, or DPT's.

The linear head is that of Strudel et al. (2021), "Segmenter", section 3.2, and of DINOv2's evaluation (Oquab et al.,
2024, section 7.4): each patch token after the last norm is classified, and the logits are interpolated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import (
    BaseVisionModel,
    Block,
    DepthHead,
    Encoder,
    Head,
    Levels,
    MultiLevelModel,
    PatchesOnly,
    PatchMap,
    SegmentationHead,
    Tokens,
    VisionModel,
    init_vit,
    upsample,
)
from ..nn.init import without_weights
from ..task_spec import DEPTH, SEGMENTATION, TaskSpec
from .around_encoder import AroundEncoder, embedded
from .dpt_heads import dpt_decoder, dpt_depth, dpt_segmentation
from .fields import ModelConfig, pair
from .vit import SMALL, ViTConfig
from .words import DenseDecoder

_SMALL = ViTConfig(**SMALL, num_classes=0)

_LEVELS = 4
"""Blocks whose tokens DPT's head takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseViTConfig(AroundEncoder):
    """A ViT with a head for the pixels: logits (B, num_classes, H, W), or inverse depth (B, H, W) without classes.

    Attributes:
        num_classes: number of classes of the pixels; 0 for depth.
        decoder: "linear", one linear layer on each patch token, or "dpt", which fuses the tokens of four blocks.
        fusion_dim: channels of the maps of "dpt".
    """

    encoder: ModelConfig = _SMALL
    num_classes: int = 0
    decoder: DenseDecoder = "linear"
    fusion_dim: int = 256

    def resolve_task(self) -> TaskSpec:
        wanted = SEGMENTATION if self.num_classes else DEPTH
        return self.task if self.task.name == wanted.name else wanted

    @property
    def num_outputs(self) -> int:
        return self.num_classes

    def build(self) -> BaseVisionModel["DenseViTConfig"]:
        vit = self.encoder.build()
        encoder = plain_encoder(vit)
        tokens = _tokens(self.encoder)
        if self.decoder == "linear":
            head = self.linear(tokens)
            return VisionModel(vit.get_submodule("embed"), encoder, head.apply(init_vit), config=self)
        levels = Levels(encoder.blocks, self._after(len(encoder.blocks)), encoder.norm)
        return MultiLevelModel(vit.get_submodule("embed"), levels, self.dpt(tokens).apply(init_vit), config=self)

    def linear(self, tokens: Tokens) -> SegmentationHead | DepthHead:
        """One linear layer on the patch tokens, interpolated to the size of the image."""
        height, width = pair(self.image_size)
        rows, columns = tokens.grid
        dim, enlarge = tokens.x.shape[2], upsample((height / rows, width / columns))
        if self.num_classes:
            return SegmentationHead(PatchMap(), nn.Identity(), nn.Conv2d(dim, self.num_classes, 1), enlarge)
        return DepthHead(PatchMap(), nn.Sequential(nn.Conv2d(dim, 1, 1), nn.Softplus(), enlarge))

    def dpt(self, tokens: Tokens) -> SegmentationHead | DepthHead:
        """DPT's head, with maps as wide as an eighth, a quarter, half and all of the tokens, as in its base model."""
        dim = tokens.x.shape[2]
        widths = tuple(max(1, dim // part) for part in (8, 4, 2, 1))
        decoder = dpt_decoder(dim, widths, self.fusion_dim, read=None if tokens.prefix else PatchesOnly)
        if self.num_classes:
            return dpt_segmentation(decoder, self.fusion_dim, self.num_classes, dropout=self.dropout)
        return dpt_depth(decoder, self.fusion_dim)

    def _after(self, depth: int) -> tuple[int, ...]:
        if depth < _LEVELS:
            raise VitrailError(
                f"decoder dpt takes the tokens of {_LEVELS} blocks, and this encoder has {depth}: use decoder=linear"
            )
        return tuple(depth * part // _LEVELS - 1 for part in range(1, _LEVELS + 1))


def plain_encoder(vit: BaseVisionModel[ModelConfig]) -> Encoder:
    """The blocks of a ViT and the norm after them, which some families have in the head, before or after the mean.

    Raises:
        VitrailError: the model has stages, or no such encoder.
    """
    encoder = vit.get_submodule("encoder") if isinstance(vit, VisionModel) else None
    if type(encoder) is not Encoder or not all(isinstance(block, Block) for block in encoder.blocks):
        raise VitrailError(
            f"{type(vit.config).__name__} is no plain ViT, one sequence of blocks on one grid: a head for pixels needs "
            "one, such as vit_*, deit*, dinov2 or mae; or train a model of its own, such as segformer_b0"
        )
    head = vit.get_submodule("head")
    if isinstance(encoder.norm, nn.Identity) and isinstance(head, Head):
        return Encoder(encoder.blocks, head.norm)
    return encoder


def dense_state(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of embedding and encoder of a ViT with the names that they have in a `DenseViTConfig`'s model.

    Raises:
        VitrailError: no plain ViT.
    """
    with without_weights():
        vit = config.build()
        plain = plain_encoder(vit)
    kept = {name: tensor for name, tensor in state.items() if name.startswith(("embed.", "encoder."))}
    if plain is not vit.get_submodule("encoder"):
        norm = {name: tensor for name, tensor in state.items() if name.startswith("head.norm.")}
        kept |= {f"encoder.{name.removeprefix('head.')}": tensor for name, tensor in norm.items()}
    return kept


def _tokens(config: ModelConfig) -> Tokens:
    """Tokens of one image before the blocks, which keep their grid and width; on the meta device.

    Raises:
        VitrailError: they have no grid of rows and columns.
    """
    if config.densest() != config:
        raise VitrailError(
            f"{type(config).__name__} has patches whose number depends on the image, and a head for pixels needs equal "
            "ones: use a ViT"
        )
    tokens = embedded(config)
    if not isinstance(tokens, Tokens) or len(tokens.grid) != 2 or tokens.lengths:
        raise VitrailError(f"{type(config).__name__} has no grid of patches, which a head for pixels needs: use a ViT")
    return tokens


VARIANTS = {
    "vit_segmenter_small_patch16_224": DenseViTConfig(num_classes=21),
    "vit_depth_small_patch16_224": DenseViTConfig(),
}
