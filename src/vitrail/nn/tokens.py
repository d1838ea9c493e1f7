"""`Tokens`: a sequence of tokens with the grid of image cells that they represent."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from .cells import NO_TOKEN, absent_last, counting_dtype, fold, mean_over_cells, renamed, sizes


@dataclass(frozen=True, slots=True)
class Tokens:
    """Prefix tokens followed by patch tokens, with the positions of the patches in the image.

    This is the value that travels inside every model. In a plain model patch token n is cell n of the grid, counted row
    by row, and `cover` is None. If patches are hidden (masked autoencoders), have several sizes (adaptive patches) or
    are merged or pruned, `cover` has the token of each cell; any set of cells may share a token, adjacent or not.
    `index`, `size`, `map` and every map of the lens follow from it.

    Attributes:
        x: the sequence, (B, N, D), prefix tokens first.
        grid: numbers of image cells that the patches represent, (H, W), or (T, H, W) for video.
        prefix: number of class, distillation and register tokens before the patches.
        lengths: tokens of each image, prefix included, if several images are packed one after the other into a batch
            of 1 (see `nn/attention/packing.py`); empty otherwise.
        cover: for each cell of the grid the index of its patch token, counted from 0 after the prefix of its image,
        or `NO_TOKEN`; (images, *grid), int64. None if each cell has its own token, in order.
        counted: what `size` counts in `cover`, (images, P), from a reduction that knows it anyway; None otherwise. With
            it an exported graph has no `cover`, unless positions follow it, and takes less time.
    """

    x: Float[Tensor, "B N D"]
    grid: tuple[int, ...]
    prefix: int = 0
    lengths: tuple[int, ...] = ()
    cover: Int[Tensor, "images *grid"] | None = None
    counted: Float[Tensor, "images P"] | None = None

    @property
    def prefix_tokens(self) -> Float[Tensor, "images p D"]:
        """The prefix tokens of each image, (images, prefix, D)."""
        if not self.lengths:
            return self.x[:, : self.prefix]
        first = torch.tensor(_starts(self.lengths), device=self.x.device).unsqueeze(1)
        return self.x[0, first + torch.arange(self.prefix, device=self.x.device)]

    @property
    def patches(self) -> Float[Tensor, "B P D"]:
        """The patch tokens as a sequence, without the prefixes; those of packed images are concatenated."""
        if not self.lengths:
            return self.x[:, self.prefix :]
        return torch.cat([image[self.prefix :] for image in self.x[0].split(list(self.lengths))])[None]

    @property
    def index(self) -> Int[Tensor, "B P"] | None:
        """Index of the first cell of each patch token, row by row; None if token n is cell n."""
        if self.cover is None:
            return None
        owners = absent_last(self.cover.flatten(1), self._most_patches())
        cells = torch.arange(owners.shape[1], device=owners.device).expand_as(owners)
        first = cells.new_full((owners.shape[0], self._most_patches() + 1), owners.shape[1])
        return self._in_sequence(first.scatter_reduce(1, owners, cells, "amin")[:, :-1])

    @property
    def size(self) -> Int[Tensor, "B P"] | None:
        """Number of cells of each patch token; None if each has one."""
        if self.cover is None:
            return None
        return self._in_sequence(sizes(self.cover, self._most_patches()))

    @property
    def weights(self) -> Float[Tensor, "B P"] | None:
        """`size` as floating point numbers: the weights of the tokens in means and attention; None if all are 1."""
        if self.counted is not None:
            return self._in_sequence(self.counted)
        size = self.size
        return None if size is None else size.to(counting_dtype(self.x))

    @property
    def centre(self) -> Int[Tensor, "B P"] | None:
        """Cell nearest to the mean position of the cells of each patch token; None if token n is cell n.

        Not for packed images. It need not be one of the token's cells.
        """
        if self.cover is None:
            return None
        sides = [torch.arange(side, dtype=torch.float32, device=self.cover.device) for side in self.grid]
        places = torch.stack(torch.meshgrid(*sides, indexing="ij"), dim=-1).flatten(0, -2)
        nearest = self.over_cells(places[None])[:, 0].round().long()
        cell = nearest[:, :, 0]
        for axis, side in enumerate(self.grid[1:], start=1):
            cell = cell * side + nearest[:, :, axis]
        return cell

    @property
    def mean(self) -> Float[Tensor, "B D"]:
        """Mean over the patch tokens, each counted once for each of its cells, (B, D); not for packed images."""
        weights = self.weights
        if weights is None:
            return self.patches.mean(dim=1)
        shares = (weights / weights.sum(dim=1, keepdim=True)).to(self.x.dtype)
        return (self.patches * shares.unsqueeze(2)).sum(dim=1)

    def over_cells(self, values: Float[Tensor, "h cells F"]) -> Float[Tensor, "*images h P F"]:
        """Mean of values of the cells over the cells of each patch token, (images, h, P, F); not for packed images.

        If token n is cell n, these are the values themselves.
        """
        if self.cover is None:
            return values
        return mean_over_cells(values, self.cover, self._most_patches())

    @property
    def map(self) -> Float[Tensor, "images D *grid"]:
        """The patch tokens on their grid, (images, D, H, W), each on all of its cells; 0 for cells without a token."""
        if self.cover is None:
            return self.patches.transpose(1, 2).unflatten(2, self.grid)
        return fold(self._padded_patches().transpose(1, 2), self.cover)

    @classmethod
    def from_map(cls, image: Float[Tensor, "B D *grid"]) -> "Tokens":
        """Build tokens from a map, row by row, without a prefix."""
        return cls(image.flatten(2).transpose(1, 2), grid=grid_of(image))

    def with_x(self, x: Float[Tensor, "B N D"]) -> "Tokens":
        """Replace the sequence by another of the same length."""
        return replace(self, x=x)

    def with_grid(self, grid: tuple[int, ...]) -> "Tokens":
        """Replace the grid by another, with a cell for each patch token."""
        return replace(self, grid=grid, cover=None, counted=None)

    def with_map(self, image: Float[Tensor, "B D *grid"]) -> "Tokens":
        """Replace the patches by another map, of any grid and the same width, with a token for each cell."""
        patches = Tokens.from_map(image)
        return Tokens(torch.cat([self.x[:, : self.prefix], patches.x], dim=1), patches.grid, self.prefix)

    def with_prefix(self, prefix: Float[Tensor, "B p D"]) -> "Tokens":
        """Replace the prefix tokens by others, of any number, (images, p, D)."""
        count = prefix.shape[1]
        if not self.lengths:
            return replace(self, x=torch.cat([prefix, self.patches], dim=1), prefix=count)
        patches = [image[self.prefix :] for image in self.x[0].split(list(self.lengths))]
        x = torch.cat([part for pair in zip(prefix, patches, strict=True) for part in pair])[None]
        lengths = tuple(length - self.prefix + count for length in self.lengths)
        return replace(self, x=x, prefix=count, lengths=lengths)

    def without_prefix(self) -> "Tokens":
        """Remove the prefix tokens."""
        lengths = tuple(length - self.prefix for length in self.lengths)
        return replace(self, x=self.patches, prefix=0, lengths=lengths)

    def only_prefix(self, count: int) -> "Tokens":
        """The first `count` prefix tokens, without the patches: no cell has a token; not for packed images."""
        none = _same_cover(self.x, self.grid, NO_TOKEN)
        return replace(self, x=self.x[:, :count], prefix=count, cover=none, counted=None)

    def mean_patch(self) -> "Tokens":
        """The mean over the patches as the one token of all cells, without a prefix; not for packed images."""
        return Tokens(self.patches.mean(dim=1, keepdim=True), self.grid, cover=_same_cover(self.x, self.grid, 0))

    def keep(self, patches: Int[Tensor, "B K"]) -> "Tokens":
        """Select patch tokens by index (B, K), in this order, and keep the prefix; not for packed images."""
        counted = None if self.counted is None else self.counted.gather(1, patches)
        return self.with_patches(rows_of(self.patches, patches), _new_names(patches, self.patches), counted)

    def with_patches(
        self,
        patches: Float[Tensor, "B K D"],
        names: Int[Tensor, "B P1"],
        counted: Float[Tensor, "B K"] | None = None,
    ) -> "Tokens":
        """Replace the patch tokens by fewer, and keep the prefix; not for packed images.

        Args:
            patches: the new tokens, (B, K, D).
            names: index of the new token that represents the cells of each old one, or `NO_TOKEN`; (B, P + 1), the last
                column is `NO_TOKEN`.
            counted: see `Tokens`.
        """
        cover = names[:, :-1].unflatten(1, self.grid) if self.cover is None else renamed(self.cover, names)
        return replace(self, x=torch.cat([self.x[:, : self.prefix], patches], dim=1), cover=cover, counted=counted)

    def of_images(self, images: Int[Tensor, " b"]) -> "Tokens":
        """Select images of the batch by index (b,); not for packed images."""
        cover, counted = (None if each is None else each.index_select(0, images) for each in (self.cover, self.counted))
        return replace(self, x=self.x.index_select(0, images), cover=cover, counted=counted)

    def _most_patches(self) -> int:
        return max(self.lengths or self.x.shape[1:2]) - self.prefix

    def _in_sequence(self, values: Shaped[Tensor, "images P"]) -> Shaped[Tensor, "B P"]:
        """Values of the patches of each image, concatenated if the images are packed."""
        if not self.lengths:
            return values
        parts = zip(values, self.lengths, strict=True)
        return torch.cat([image[: length - self.prefix] for image, length in parts])[None]

    def _padded_patches(self) -> Float[Tensor, "images P D"]:
        if not self.lengths:
            return self.patches
        images = [image[self.prefix :] for image in self.x[0].split(list(self.lengths))]
        return torch.nn.utils.rnn.pad_sequence(images, batch_first=True)


def rows_of(x: Float[Tensor, "B N D"], index: Int[Tensor, "B K"]) -> Float[Tensor, "B K D"]:
    """The rows of each sequence with these indices, at least one.

    As `gather`, with whole rows, which graph engines copy faster than numbers one by one.
    """
    first = x.shape[1] * torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    return x.flatten(0, 1).index_select(0, (index + first).flatten()).view(index.shape[0], index.shape[1], x.shape[2])


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.


@fx.wrap
def grid_of(image: Float[Tensor, "B D *grid"]) -> tuple[int, ...]:
    """Return the grid of a map as a tuple of ints."""
    return tuple(image.shape[2:])


@fx.wrap
def _same_cover(x: Float[Tensor, "B N D"], grid: tuple[int, ...], value: int) -> Int[Tensor, "B *grid"]:
    return x.new_full((x.shape[0], *grid), value, dtype=torch.int64)


@fx.wrap
def _new_names(kept: Int[Tensor, "B K"], patches: Float[Tensor, "B P D"]) -> Int[Tensor, "B P1"]:
    """New index of each old patch token, or `NO_TOKEN` if it is not kept; the last column is `NO_TOKEN`."""
    numbers = torch.arange(kept.shape[1], device=kept.device).expand_as(kept)
    names = kept.new_full((kept.shape[0], patches.shape[1] + 1), NO_TOKEN)
    return names.scatter(1, kept, numbers)


def _starts(lengths: tuple[int, ...]) -> list[int]:
    return [sum(lengths[:number]) for number in range(len(lengths))]


def _flatten(tokens: Tokens) -> tuple[list[Any], tuple[Any, ...]]:
    cells = () if tokens.cover is None else (tokens.cover, tokens.counted)
    leaves = [tokens.x, *(leaf for leaf in cells if leaf is not None)]
    return leaves, (tokens.grid, tokens.prefix, tokens.lengths)


def _unflatten(leaves: Any, context: tuple[Any, ...]) -> Tokens:
    x, *cells = leaves
    return Tokens(x, *context, *cells)


# compile, export, activation checkpointing and FSDP2 find tensors through pytrees.
pytree.register_pytree_node(
    Tokens,
    _flatten,
    _unflatten,
    serialized_type_name="vitrail.Tokens",
    to_dumpable_context=lambda context: [list(context[0]), context[1], list(context[2])],
    from_dumpable_context=lambda dumped: (tuple(dumped[0]), dumped[1], tuple(dumped[2])),
)
