"""MAE (He et al., 2022, "Masked autoencoders are scalable vision learners").

A ViT encodes a quarter of the patches, and a small decoder reconstructs the others. Afterwards the encoder is
fine-tuned as a ViT with mean pooling, see `MAEConfig.fine_tuned`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..nn import (
    Embedding,
    Encoder,
    MaskedAutoencoder,
    PatchDecoder,
    PatchEmbed,
    PrefixTokens,
    SinCosPositions,
    init_mae,
    sincos_positions,
)
from ..task_spec import TaskSpec
from .fields import RECONSTRUCTION, BlockFields, ModelConfig, Size, cells, pair, shared_fields
from .parts import vit_block, vit_encoder
from .vit import HUGE, LARGE, ViTConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class MAEConfig(BlockFields):
    """MAE's pre-training model: encoder and decoder. Positions are computed for the current grid, so any size works.

    Attributes:
        mask_ratio: fraction of the patches that is hidden.
        decoder_dim, decoder_depth, decoder_heads: width, number of blocks and heads of the decoder.
    """

    task: TaskSpec = RECONSTRUCTION
    patch_size: Size = 16
    mask_ratio: float = 0.75
    decoder_dim: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16

    def build(self) -> MaskedAutoencoder["MAEConfig"]:
        dim = self.embed_dim
        patches = PatchEmbed(self.in_channels, dim, pair(self.patch_size))
        prefix = PrefixTokens(dim)
        model = MaskedAutoencoder(
            embed=Embedding(patches, positions=SinCosPositions(dim, inclusive=False), prefix=prefix),
            encoder=vit_encoder(self),
            head=self.decoder(),
            config=self,
            mask_ratio=self.mask_ratio,
        )
        nn.init.normal_(prefix.weight, std=0.02)
        return model.apply(init_mae)

    def example_inputs(self, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """Pixels (B, C, H, W), and the noise (B, N) that selects the hidden patches."""
        noise = torch.zeros(batch, cells(self.image_size, self.patch_size), device=device)
        return (*ModelConfig.example_inputs(self, batch, device), noise)

    def fine_tuned(self) -> ViTConfig:
        """Config of a ViT with mean pooling and learned positions (section 4, "global pooling")."""
        found = shared_fields(self, ViTConfig)
        del found["task"]
        return ViTConfig(**found, pool="mean", num_classes=0)

    def fine_tuned_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of embedding and encoder; the norm moves after the mean, computed positions become learned ones."""
        kept = {name: tensor for name, tensor in state.items() if name.startswith(("embed.", "encoder."))}
        renamed = {name.replace("encoder.norm.", "head.norm."): tensor for name, tensor in kept.items()}
        rows, columns = (
            side // patch for side, patch in zip(pair(self.image_size), pair(self.patch_size), strict=True)
        )
        table = sincos_positions(rows, columns, self.embed_dim, inclusive=False)
        class_token = table.new_zeros(1, 1, self.embed_dim)
        return {**renamed, "embed.parts.positions.weight": torch.cat([class_token, table], dim=1)}

    def decoder(self) -> PatchDecoder:
        dim, (rows, columns) = self.decoder_dim, pair(self.patch_size)
        blocks = [
            vit_block(dim, self.decoder_heads, self.mlp_ratio, norm_eps=self.norm_eps)
            for _ in range(self.decoder_depth)
        ]
        return PatchDecoder(
            nn.Linear(self.embed_dim, dim),
            dim,
            positions=SinCosPositions(dim, inclusive=False),
            encoder=Encoder(blocks, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            predict=nn.Linear(dim, rows * columns * self.in_channels),
        )


VARIANTS: dict[str, Any] = {
    "mae_vit_base_patch16": MAEConfig(),
    "mae_vit_large_patch16": MAEConfig(**LARGE),
    "mae_vit_huge_patch14": MAEConfig(patch_size=14, **HUGE),
}

PAPER_NAMES = (
    (r"mae", "mae_vit_large_patch16"),
    (r"mae-(vit-)?(h|huge)(-14)?", "mae_vit_huge_patch14"),
    (r"mae-(vit-)?<size>(-?<patch>)?", "mae_vit_{size}_patch{patch:16}"),
)
