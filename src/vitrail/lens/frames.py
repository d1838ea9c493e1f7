"""Attention of clips: the frames side by side as one picture, and which frames a frame attends to."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor

from ..pages.image import displayable
from .layout import Layout


@dataclass(frozen=True, slots=True)
class Mosaic:
    """The times of a clip in rows and columns of one picture, without gaps.

    Attributes:
        rows, columns: their product is the number of times.
        each: number of frames that one token covers.
    """

    rows: int
    columns: int
    each: int = 1

    @classmethod
    def of(cls, times: int, frames: int | None = None) -> "Mosaic":
        """The mosaic nearest to a square, wider than high.

        Args:
            times: number of tokens along the time.
            frames: number of frames of the clip; as many as times by default.
        """
        rows = max(count for count in range(1, times + 1) if times % count == 0 and count * count <= times)
        return cls(rows, times // rows, max(1, (frames or times) // times))

    @property
    def times(self) -> int:
        return self.rows * self.columns

    def joined(self, values: Shaped[Tensor, "*batch T H W"]) -> Shaped[Tensor, "*batch H2 W2"]:
        """Put maps or images of the times together; (T, C, H, W) images have the channels first, (C, T, H, W)."""
        grid = values.unflatten(-3, (self.rows, self.columns))
        return grid.transpose(-3, -2).flatten(-2).flatten(-3, -2)

    def order(self, grid: tuple[int, ...]) -> Int[Tensor, " cells"]:
        """The token of each cell of the mosaic, row by row; tokens are counted over the grid (T, H, W)."""
        return self.joined(torch.arange(torch.Size(grid).numel()).unflatten(0, grid)).flatten()

    def picture(self, clip: Shaped[Tensor, "T C H W"]) -> UInt8[Tensor, "3 H2 W2"]:
        """One frame for each time, see `frames_of_times`."""
        return displayable(self.joined(frames_of_times(clip, self.times).transpose(0, 1)))


def frame_names(times: int, frames: int) -> list[str]:
    """Names of the times of a clip: "frame 3", or "frames 5 to 6" where a token covers several."""
    edges = [time * frames // times for time in range(times + 1)]
    spans = [(edges[time] + 1, edges[time + 1]) for time in range(times)]
    return [f"frame {end}" if start == end else f"frames {start} to {end}" for start, end in spans]


def frames_of_times(clip: Shaped[Tensor, "T C H W"], times: int) -> Shaped[Tensor, "times C H W"]:
    """The first frame of each of several equal parts of the time."""
    return clip[[time * len(clip) // times for time in range(times)]]


def between_frames(weights: Float[Tensor, "BG h n m"], layout: Layout) -> Float[Tensor, "B h T T2"]:
    """How much the patches of each frame attend to the patches of each frame, mean over the patches that ask.

    A row sums to 1 less the attention to prefix tokens. For attention along the time (TimeSformer) and of all tokens.

    Args:
        weights: weights of a layer, as observed.
        layout: its layout; the grids of queries and keys are (T, H, W).
    """
    if layout.places is None:
        queries, keys = torch.arange(layout.queries)[None], torch.arange(layout.keys)[None]
    else:
        queries, keys = layout.places.queries.cpu(), layout.places.keys.cpu()
    asks = _frame_of(queries, layout.prefix, layout.grid).to(weights)
    holds = _frame_of(keys, layout.key_prefix, layout.key_grid).to(weights)
    total = torch.einsum("bghnm,gnt,gms->bhts", weights.unflatten(0, (-1, len(queries))), asks, holds)
    return total / asks.sum(dim=(0, 1))[:, None].clamp(min=1)


def _frame_of(places: Int[Tensor, "G n"], prefix: int, grid: tuple[int, ...]) -> Float[Tensor, "G n T"]:
    """1 for the frame of each token; prefix tokens and padding have none."""
    cells = grid[1] * grid[2]
    frame = torch.where(places >= prefix, (places - prefix) // cells, -1)
    return (frame[..., None] == torch.arange(grid[0])).float()
