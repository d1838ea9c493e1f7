"""BEiT (Bao et al., 2022, "BERT pre-training of image transformers") and BEiT v2 (Peng et al., 2022).

ViT with relative instead of absolute positions, layer scale, no bias on the keys, and the mean over the patches.
BEiT v2 is the same model with another pre-training. BEiT's pre-training model is here too: some patches are hidden, and
the model predicts for each patch which of 8192 visual tokens of an image tokenizer stands for it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..nn import (
    BiasedBlock,
    Block,
    Embedding,
    Encoder,
    Head,
    JointProjectionWithoutKeyBias,
    MaskedEmbedding,
    MaskedImageModel,
    MeanPool,
    MultiHeadAttention,
    PatchHead,
    PrefixTokens,
    RelativeBiasWithClass,
    Residual,
    SharedBiasEncoder,
    VisionModel,
    init_vit,
    linear_rates,
    shrink_by_depth,
)
from ..task_spec import TaskSpec
from .fields import MASKED_MODELLING, ModelConfig, PositionedFields, ViTFields, cells, pair
from .parts import classifier, learned_positions, patch_embed, vit_residuals
from .vit import LARGE


@dataclass(frozen=True, kw_only=True)
class BEiTFields(ViTFields):
    """Fields of a ViT with layer scale and without a bias of the keys.

    Attributes:
        layer_scale: initial factor of each branch.
    """

    __slots__ = ()

    layer_scale: float = 0.1

    def residuals(self, drop_path: float, bias: nn.Module | None = None) -> dict[str, Residual]:
        """Residuals of a block; `bias` is added to the attention scores."""
        dim, heads = self.embed_dim, self.num_heads
        qkv = JointProjectionWithoutKeyBias(dim, heads)
        attention = MultiHeadAttention(dim, heads, qkv=qkv, bias=bias, dropout=self.dropout)
        return vit_residuals(self, attention, drop_path=drop_path, layer_scale=self.layer_scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class BEiTConfig(BEiTFields):
    """BEiT: a ViT with a table of relative positions in each block."""

    def build(self) -> VisionModel["BEiTConfig"]:
        dim = self.embed_dim
        patches = patch_embed(self)
        window = patches.grid(pair(self.image_size))
        rates = linear_rates(self.drop_path, self.depth)
        blocks = [Block(**self.residuals(rate, RelativeBiasWithClass(window, self.num_heads))) for rate in rates]
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim)),
            encoder=Encoder(blocks),
            head=Head(MeanPool(), classifier(dim, self.num_classes), norm=norm),
            config=self,
        )
        model.apply(init_vit)
        shrink_by_depth(blocks, ends=ENDS)
        return model


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskedBEiTConfig(BEiTFields, PositionedFields):
    """BEiT's pre-training model (section 2.3): logits of the visual token of every patch, some of which are hidden.

    All blocks share one table of relative positions, and the norm is after the last block.

    Attributes:
        num_classes: number of visual tokens of the image tokenizer.
        absolute_positions: add learned absolute positions to the relative ones; the released models have none.
    """

    task: TaskSpec = MASKED_MODELLING
    num_classes: int = 8192
    absolute_positions: bool = False
    position_antialias: bool = False

    @property
    def num_outputs(self) -> int:
        return 0

    def example_inputs(self, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """Pixels (B, C, H, W), and the mask (B, N) of the hidden patches."""
        mask = torch.zeros(batch, cells(self.image_size, self.patch_size), device=device)
        return (*ModelConfig.example_inputs(self, batch, device), mask)

    def build(self) -> MaskedImageModel["MaskedBEiTConfig"]:
        dim, patches = self.embed_dim, patch_embed(self)
        parts: dict[str, nn.Module] = {"prefix": PrefixTokens(dim)}
        if self.absolute_positions:
            parts["positions"] = learned_positions(self, patches, prefix=1)
        table = RelativeBiasWithClass(patches.grid(pair(self.image_size)), self.num_heads)
        blocks = [BiasedBlock(**self.residuals(rate)) for rate in linear_rates(self.drop_path, self.depth)]
        model = MaskedImageModel(
            embed=MaskedEmbedding(patches, dim, **parts),
            encoder=SharedBiasEncoder(blocks, table, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=PatchHead(classifier(dim, self.num_classes)),
            config=self,
        )
        model.apply(init_vit)
        shrink_by_depth(blocks, ends=ENDS)
        return model


ENDS = ("attention.branch.project", "mlp.branch.contract")
"""Paths of the last layers of the branches of a block."""

BEIT_LARGE: dict[str, Any] = {**LARGE, "layer_scale": 1e-5}

VARIANTS = {
    "beit_base_patch16_224": BEiTConfig(),
    "beit_base_patch16_384": BEiTConfig(image_size=384),
    "beit_large_patch16_224": BEiTConfig(**BEIT_LARGE),
    "beit_large_patch16_384": BEiTConfig(image_size=384, **BEIT_LARGE),
    "beit_large_patch16_512": BEiTConfig(image_size=512, **BEIT_LARGE),
    "beitv2_base_patch16_224": BEiTConfig(layer_scale=1e-5),
    "beitv2_large_patch16_224": BEiTConfig(**BEIT_LARGE),
    "beit_base_patch16_224_pretraining": MaskedBEiTConfig(),
    "beit_large_patch16_224_pretraining": MaskedBEiTConfig(**BEIT_LARGE),
}

PAPER_NAMES = (
    (r"beit", "beit_base_patch16_224"),
    (r"beit-<size>(-?<patch>)?(-<image>)?", "beit_{size}_patch{patch:16}_{image:224}"),
    (r"beit-?v2-<size>(-?<patch>)?(-<image>)?", "beitv2_{size}_patch{patch:16}_{image:224}"),
)
