"""BEiT (Bao et al., 2022, "BERT pre-training of image transformers") and BEiT v2 (Peng et al., 2022).

ViT with relative instead of absolute positions, layer scale, no bias on the keys, and the mean over the patches.
BEiT v2 is the same model with another pre-training. BEiT's pre-training model is here too: some patches are hidden, and
the model predicts for each patch which of 8192 visual tokens of an image tokenizer stands for it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import (
    MLP,
    BiasedBlock,
    Block,
    Embedding,
    Encoder,
    Head,
    JointProjectionWithoutKeyBias,
    MaskedEmbedding,
    MaskedImageModel,
    MeanPool,
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
from .fields import MASKED_MODELLING, BlockFields, ModelConfig, PositionedFields, ViTFields, cells, pair
from .parts import BRANCH_ENDS, classifier, learned_positions, patch_embed, vit_attention, vit_residuals
from .vit import LARGE


@dataclass(frozen=True, kw_only=True)
class BEiTFields(ViTFields, BlockFields):
    """Fields of a ViT with layer scale and without a bias of the keys.

    Attributes:
        layer_scale: initial factor of each branch.
    """

    __slots__ = ()

    layer_scale: float = 0.1

    def residuals(self, index: int, drop_path: float, bias: nn.Module | None = None) -> dict[str, Residual]:
        """Residuals of a block, counted from 0; `bias` is added to the attention scores."""
        dim, widths = self.embed_dim, self.block_widths(index)
        qkv = JointProjectionWithoutKeyBias(dim, widths.num_heads, head_dim=widths.head_dim)
        attention = vit_attention(dim, widths.num_heads, widths.head_dim, qkv=qkv, bias=bias, dropout=self.dropout)
        mlp = MLP(dim, widths.mlp_dim or int(dim * self.mlp_ratio), dropout=self.dropout)
        return vit_residuals(self, attention, mlp, drop_path=drop_path, layer_scale=self.layer_scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class BEiTConfig(BEiTFields):
    """BEiT: a ViT with a table of relative positions in each block."""

    def build(self) -> VisionModel["BEiTConfig"]:
        dim = self.embed_dim
        patches = patch_embed(self)
        window = patches.grid(pair(self.image_size))
        rates = linear_rates(self.drop_path, self.depth)
        tables = (RelativeBiasWithClass(window, self.block_widths(index).num_heads) for index in range(self.depth))
        blocks = [Block(**self.residuals(i, *parts)) for i, parts in enumerate(zip(rates, tables, strict=True))]
        norm = nn.LayerNorm(dim, eps=self.norm_eps)
        model = VisionModel(
            embed=Embedding(patches, prefix=PrefixTokens(dim)),
            encoder=Encoder(blocks),
            head=Head(MeanPool(), classifier(dim, self.num_classes), norm=norm),
            config=self,
        )
        model.apply(init_vit)
        shrink_by_depth(blocks, ends=BRANCH_ENDS)
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

    def __post_init__(self) -> None:
        ModelConfig.__post_init__(self)
        if len(set(self.block_heads)) > 1:
            raise VitrailError(
                f"MaskedBEiTConfig has block_heads={self.block_heads}: one table of relative positions serves all "
                "blocks, so give each as many heads"
            )

    def build(self) -> MaskedImageModel["MaskedBEiTConfig"]:
        dim, patches = self.embed_dim, patch_embed(self)
        parts: dict[str, nn.Module] = {"prefix": PrefixTokens(dim)}
        if self.absolute_positions:
            parts["positions"] = learned_positions(self, patches, prefix=1)
        table = RelativeBiasWithClass(patches.grid(pair(self.image_size)), self.block_widths(0).num_heads)
        rates = linear_rates(self.drop_path, self.depth)
        blocks = [BiasedBlock(**self.residuals(index, rate)) for index, rate in enumerate(rates)]
        model = MaskedImageModel(
            embed=MaskedEmbedding(patches, dim, **parts),
            encoder=SharedBiasEncoder(blocks, table, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=PatchHead(classifier(dim, self.num_classes)),
            config=self,
        )
        model.apply(init_vit)
        shrink_by_depth(blocks, ends=BRANCH_ENDS)
        return model


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
