"""VideoMAE's pre-training model (Tong et al., 2022, "VideoMAE: masked autoencoders are data-efficient learners").

A ViT encodes the tenth of the tubelets that is visible, and a small decoder reconstructs the others. Afterwards the
encoder is fine-tuned as a `VideoMAEConfig`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..nn import (
    Embedding,
    Encoder,
    PatchDecoder,
    SinusoidalPositions,
    TubeAutoencoder,
    TubeletEmbed,
    init_mae,
    linear_rates,
)
from ..task_spec import TaskSpec
from .fields import RECONSTRUCTION, BlockFields, BlockWidths, ModelConfig, Size, cells, pair, shared_fields
from .videomae import VideoMAEConfig, videomae_block
from .vit import LARGE, SMALL


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoMAEPretrainingConfig(BlockFields):
    """VideoMAE's encoder and decoder. Positions are computed for the current grid, so any size works.

    Attributes:
        num_frames: number of frames T, a multiple of `tubelet_frames`.
        tubelet_frames: number of frames of a token.
        mask_ratio: fraction of the cells that is hidden in all frames.
        decoder_dim, decoder_depth, decoder_heads: width, number of blocks and heads of the decoder.
    """

    task: TaskSpec = RECONSTRUCTION
    patch_size: Size = 16
    num_frames: int = 16
    tubelet_frames: int = 2
    mask_ratio: float = 0.9
    decoder_dim: int = 384
    decoder_depth: int = 4
    decoder_heads: int = 6

    @property
    def pixels_shape(self) -> tuple[int, ...]:
        return (self.in_channels, self.num_frames, *pair(self.image_size))

    @property
    def tubelet_size(self) -> tuple[int, int, int]:
        """(frames, height, width) of a token, in pixels."""
        return (self.tubelet_frames, *pair(self.patch_size))

    def build(self) -> TubeAutoencoder["VideoMAEPretrainingConfig"]:
        dim = self.embed_dim
        tubelets = TubeletEmbed(self.in_channels, dim, self.tubelet_size)
        tubelets.grid((self.num_frames, *pair(self.image_size)))
        blocks = [
            videomae_block(self, dim, self.block_widths(index), rate)
            for index, rate in enumerate(linear_rates(self.drop_path, self.depth))
        ]
        model = TubeAutoencoder(
            embed=Embedding(tubelets, positions=SinusoidalPositions(dim)),
            encoder=Encoder(blocks, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            head=self.decoder(),
            config=self,
            mask_ratio=self.mask_ratio,
        )
        return model.apply(init_mae)

    def decoder(self) -> PatchDecoder:
        dim, widths = self.decoder_dim, BlockWidths(num_heads=self.decoder_heads)
        blocks = [videomae_block(self, dim, widths, 0.0) for _ in range(self.decoder_depth)]
        frames, rows, columns = self.tubelet_size
        return PatchDecoder(
            nn.Linear(self.embed_dim, dim, bias=False),
            dim,
            positions=SinusoidalPositions(dim),
            encoder=Encoder(blocks, norm=nn.LayerNorm(dim, eps=self.norm_eps)),
            predict=nn.Linear(dim, frames * rows * columns * self.in_channels),
        )

    def example_inputs(self, batch: int = 1, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """Pixels (B, C, T, H, W), and the noise (B, cells) that selects the hidden cells."""
        noise = torch.zeros(batch, cells(self.image_size, self.patch_size), device=device)
        return (*ModelConfig.example_inputs(self, batch, device), noise)

    def fine_tuned(self) -> VideoMAEConfig:
        """Config of the classifier, without classes."""
        found = shared_fields(self, VideoMAEConfig)
        del found["task"]
        return VideoMAEConfig(**found, pool_norm_eps=self.norm_eps, num_classes=0)

    def fine_tuned_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of embedding and encoder; the norm moves after the mean."""
        kept = {name: tensor for name, tensor in state.items() if name.startswith(("embed.", "encoder."))}
        return {name.replace("encoder.norm.", "head.norm."): tensor for name, tensor in kept.items()}


VARIANTS: dict[str, Any] = {
    "videomae_small_patch16_224_pretraining": VideoMAEPretrainingConfig(**SMALL, decoder_dim=192, decoder_heads=3),
    "videomae_base_patch16_224_pretraining": VideoMAEPretrainingConfig(),
    "videomae_large_patch16_224_pretraining": VideoMAEPretrainingConfig(
        **LARGE, decoder_dim=512, decoder_depth=12, decoder_heads=8
    ),
}
