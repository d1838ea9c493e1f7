"""Stem for videos: pixels (B, C, T, H, W) -> Tokens."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens


class MotionStem(nn.Module):
    """3×3×3 convolutions, each with batch norm and ReLU, over the frames and what moves in them.

    Each frame has beside its channels its difference from the mean over the clip: what stands still vanishes there, so
    that motion does not have to be learned against every background. Convolutions over space and time are those of Tran
    et al. (2015), "Learning spatiotemporal features with 3D convolutional networks".

    Args:
        in_channels: C of the pixels.
        widths: width of each convolution, which halves the rows and columns; the last is the width D of the tokens.
        halved: how many of the last convolutions halve the frames too.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], halved: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for place, (before, after) in enumerate(zip((2 * in_channels, *widths), widths, strict=False)):
            stride = (2 if place >= len(widths) - halved else 1, 2, 2)
            conv = nn.Conv3d(before, after, 3, stride=stride, padding=1, bias=False)
            self.layers.append(nn.Sequential(conv, nn.BatchNorm3d(after), nn.ReLU()))
        self.factor = (2**halved, 2 ** len(widths), 2 ** len(widths))

    def forward(self, pixels: Float[Tensor, "B C T H W"]) -> Tokens:
        moving = pixels - pixels.mean(dim=2, keepdim=True)
        return Tokens.from_map(self.layers(torch.cat([pixels, moving], dim=1)))

    def grid(self, video_size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Number of tokens (frames, rows, columns) of a video of this size; halves are rounded up."""
        deep, rows, columns = (math.ceil(side / factor) for side, factor in zip(video_size, self.factor, strict=True))
        return deep, rows, columns
