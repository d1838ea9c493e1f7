"""Attention in videos, along time or inside frames, for tokens on a grid (T, H, W)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .places import Places, numbers


class TimeAttention(nn.Module):
    """Attention of each patch to its cell in every frame (Bertasius et al., 2021, "TimeSformer"). Tokens -> Tokens.

    Prefix tokens have no cell and take no part: their output is zero.
    """

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tokens) -> Tokens:
        places = tokens.grid[1] * tokens.grid[2]
        lines = tokens.patches.unflatten(1, (-1, places)).transpose(1, 2).flatten(0, 1)  # (B H W, T, D)
        lines = self.attention(Tokens(lines, grid=tokens.grid[:1])).x
        patches = lines.unflatten(0, (-1, places)).transpose(1, 2).flatten(1, 2)
        return tokens.with_x(F.pad(patches, (0, 0, tokens.prefix, 0)))

    def places_of(self, tokens: Tokens) -> Places:
        """Groups of the tokens of one cell in all frames, for each cell."""
        return Places.among(numbers(tokens.grid, tokens.prefix, tokens.x.device).flatten(1).T)


class SpaceAttention(nn.Module):
    """Attention inside each frame (Bertasius et al., 2021, "TimeSformer", section 3). Tokens -> Tokens.

    The prefix tokens take part in every frame; their output is the mean over the frames.
    """

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tokens) -> Tokens:
        frames = tokens.grid[0]
        lead = tokens.x[:, : tokens.prefix].unsqueeze(1).expand(-1, frames, -1, -1)
        lead, patches = _in_frames(self.attention, lead, tokens)
        return tokens.with_x(torch.cat([lead.mean(dim=1), patches], dim=1))

    def places_of(self, tokens: Tokens) -> Places:
        """Groups of the prefix tokens and the tokens of one frame."""
        frames = numbers(tokens.grid, tokens.prefix, tokens.x.device).flatten(1)
        lead = torch.arange(tokens.prefix, device=frames.device).expand(frames.shape[0], -1)
        return Places.among(torch.cat([lead, frames], dim=1))


class FrameAttention(nn.Module):
    """Attention inside each frame, which has its own prefix tokens, see `PrefixForEachFrame`. Tokens -> Tokens."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, tokens: Tokens) -> Tokens:
        lead = tokens.x[:, : tokens.prefix].unflatten(1, (tokens.grid[0], -1))
        lead, patches = _in_frames(self.attention, lead, tokens)
        return tokens.with_x(torch.cat([lead.flatten(1, 2), patches], dim=1))

    def places_of(self, tokens: Tokens) -> Places:
        """Groups of the tokens of one frame with its own prefix tokens."""
        frames = numbers(tokens.grid, tokens.prefix, tokens.x.device).flatten(1)
        lead = torch.arange(tokens.prefix, device=frames.device).unflatten(0, (frames.shape[0], -1))
        return Places.among(torch.cat([lead, frames], dim=1))


class PrefixForEachFrame(nn.Module):
    """Copy the prefix tokens for each frame: (B, p + N, D) -> (B, T p + N, D)."""

    def forward(self, tokens: Tokens) -> Tokens:
        frames = tokens.grid[0]
        lead = tokens.x[:, : tokens.prefix].repeat(1, frames, 1)
        return tokens.with_prefix(lead)


class MeanOverFrames(nn.Module):
    """Mean over the frames for every cell and prefix token. Grid (T, H, W) -> (H, W)."""

    def forward(self, tokens: Tokens) -> Tokens:
        frames, rows, columns = tokens.grid
        lead = tokens.x[:, : tokens.prefix].unflatten(1, (frames, -1)).mean(dim=1)
        patches = tokens.patches.unflatten(1, (frames, -1)).mean(dim=1)
        return Tokens(torch.cat([lead, patches], dim=1), (rows, columns), tokens.prefix // frames)


def _in_frames(
    attention: nn.Module, lead: Float[Tensor, "B T p D"], tokens: Tokens
) -> tuple[Float[Tensor, "B T p D"], Float[Tensor, "B N D"]]:
    """Attention inside each frame with its prefix tokens `lead`; returns prefix tokens and patches."""
    frames, prefix = tokens.grid[0], lead.shape[2]
    patches = tokens.patches.unflatten(1, (frames, -1))
    images = Tokens(torch.cat([lead, patches], dim=2).flatten(0, 1), tokens.grid[1:], prefix)
    out = attention(images).x.unflatten(0, (-1, frames))
    return out[:, :, :prefix], out[:, :, prefix:].flatten(1, 2)
