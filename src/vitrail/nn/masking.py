"""Masked image models: masked autoencoders and prediction of hidden patches."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from .embed.patches import Embedding
from .encoder import PerToken
from .heads.reading import PATCHES
from .model import ComposedModel, ConfigT_co
from .tokens import Tokens, rows_of


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """Output of a masked autoencoder.

    Attributes:
        patches: pixels of every patch, (B, N, P_h P_w C), in the order of `patchify`.
        mask: (B, N), 1 for hidden patches, 0 for visible ones.
    """

    patches: Float[Tensor, "B N P"]
    mask: Float[Tensor, "B N"]


class MaskedAutoencoder(ComposedModel[ConfigT_co, Reconstruction]):
    """Encode the visible patches and reconstruct the pixels of all (He et al., 2022, "MAE", section 3).

    The head is the decoder, see `PatchDecoder`. `forward_features` hides nothing.

    Args:
        mask_ratio: fraction of the patches that is hidden, in [0, 1).
    """

    def __init__(
        self, embed: nn.Module, encoder: nn.Module, head: nn.Module, config: ConfigT_co, *, mask_ratio: float
    ) -> None:
        super().__init__(embed, encoder, head, config)
        self.mask_ratio = mask_ratio

    def forward(self, pixels: Shaped[Tensor, "B C H W"], noise: Float[Tensor, "B N"] | None = None) -> Reconstruction:
        """(B, C, H, W) -> all patches. Those with the least `noise` are visible; it is random by default."""
        tokens = self.embed(pixels)
        if noise is None:
            noise = torch.rand(tokens.patches.shape[:2], device=pixels.device)
        order = noise.argsort(dim=1, stable=True)
        place = order.argsort(dim=1)
        seen = _count(order, 1 - self.mask_ratio)
        patches = self.head(self.encoder(tokens.keep(order[:, :seen])), place, tokens.grid)
        return Reconstruction(patches, (place >= seen).to(patches.dtype))

    if TYPE_CHECKING:

        def __call__(self, pixels: Tensor, noise: Tensor | None = None) -> Reconstruction: ...


class MaskedImageModel(ComposedModel[ConfigT_co, Tensor]):
    """Predict a token for every patch, for hidden ones from those around them (Bao et al., 2022, "BEiT", section 2.3).

    The embedding takes a mask, see `MaskedEmbedding`. `forward_features` hides nothing.
    """

    def forward(
        self, pixels: Shaped[Tensor, "B C H W"], mask: Shaped[Tensor, "B N"] | None = None
    ) -> Float[Tensor, "B N K"]:
        """(B, C, H, W) -> logits of every patch. Patches with `mask` true, or 1, are hidden; none by default."""
        return self.head(self.encoder(self.embed(pixels, mask)))

    if TYPE_CHECKING:

        def __call__(self, pixels: Tensor, mask: Tensor | None = None) -> Tensor: ...


class MaskedEmbedding(nn.Module):
    """Patch embedding with a learned mask token in place of hidden patches; further parts as in `Embedding`.

    Args:
        patches: pixels -> Tokens.
        dim: width D.
        parts: Tokens -> Tokens, applied in order: prefix tokens, positions.
    """

    def __init__(self, patches: nn.Module, dim: int, **parts: nn.Module) -> None:
        super().__init__()
        self.patches = patches
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.parts = nn.Sequential(OrderedDict(parts))

    def forward(self, pixels: Shaped[Tensor, "B C H W"], mask: Shaped[Tensor, "B N"] | None = None) -> Tokens:
        """Patches with `mask` true, or 1, are hidden; none without a mask."""
        tokens = self.patches(pixels)
        if mask is not None:
            token = self.mask_token.to(tokens.x.dtype)
            tokens = tokens.with_x(torch.where(mask.bool().unsqueeze(2), token, tokens.x))
        return self.parts(tokens)


def embed_hidden(
    embed: Embedding, pixels: Shaped[Tensor, "B C H W"], mask: Shaped[Tensor, "B N"], mask_token: Float[Tensor, "1 1 D"]
) -> Tokens:
    """Tokens of an embedding with `mask_token` in place of the patches whose `mask` is true.

    It takes the place of a patch after the norm of the patches, if there is one, and before prefix tokens and positions
    are added, so that the encoder knows where it is.
    """
    parts = list(embed.parts)
    tokens = embed.patches(pixels)
    while parts and isinstance(parts[0], PerToken):
        tokens = parts.pop(0)(tokens)
    tokens = tokens.with_x(torch.where(mask.unsqueeze(2), mask_token.to(tokens.x.dtype), tokens.x))
    for part in parts:
        tokens = part(tokens)
    return tokens


class PatchDecoder(nn.Module):
    """A small ViT on the visible patches, with a mask token for each hidden one (section 3, "MAE decoder").

    Args:
        embed: projection from the encoder's width to the decoder's.
        dim: width D of the decoder.
        positions: Tokens -> Tokens, for all patches.
        encoder: Tokens -> Tokens.
        predict: projection from the decoder's width to the pixels of a patch.
    """

    reads = PATCHES

    def __init__(
        self, embed: nn.Module, dim: int, *, positions: nn.Module, encoder: nn.Module, predict: nn.Module
    ) -> None:
        super().__init__()
        self.embed = embed
        self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
        nn.init.normal_(self.mask_token, std=0.02)
        self.positions = positions
        self.encoder = encoder
        self.predict = predict

    def forward(self, tokens: Tokens, place: Int[Tensor, "B N"], grid: tuple[int, ...]) -> Float[Tensor, "B N P"]:
        """`place` (B, N) is the index of each patch of the grid in the sequence of visible and then hidden patches."""
        x = self.embed(tokens.x)
        lead, seen = x[:, : tokens.prefix], x[:, tokens.prefix :]
        hidden = self.mask_token.to(x.dtype).expand(x.shape[0], place.shape[1] - seen.shape[1], -1)
        patches = self.positions(Tokens(rows_of(torch.cat([seen, hidden], dim=1), place), grid))
        whole = Tokens(torch.cat([lead, patches.x], dim=1), grid, tokens.prefix)
        return self.predict(self.encoder(whole).patches)


@fx.wrap  # torch.fx cannot trace code that depends on shapes: calls are leaves of its graphs
def _count(order: Int[Tensor, "B N"], share: float) -> int:
    return int(order.shape[1] * share)


def patchify(pixels: Shaped[Tensor, "B C H W"], patch_size: tuple[int, int]) -> Float[Tensor, "B N P"]:
    """Split images into patches; the pixels of a patch are ordered by row, column and channel."""
    cells = pixels.unflatten(3, (-1, patch_size[1])).unflatten(2, (-1, patch_size[0]))  # (B, C, H, P_h, W, P_w)
    return cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(
    patches: Float[Tensor, "B N P"], grid: tuple[int, int], patch_size: tuple[int, int]
) -> Float[Tensor, "B C H W"]:
    """Inverse of `patchify`."""
    cells = patches.unflatten(2, (*patch_size, -1)).unflatten(1, grid)  # (B, H, W, P_h, P_w, C)
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


pytree.register_pytree_node(
    Reconstruction,
    lambda output: ([output.patches, output.mask], None),
    lambda leaves, context: Reconstruction(*leaves),
    serialized_type_name="vitrail.Reconstruction",
    to_dumpable_context=lambda context: None,
    from_dumpable_context=lambda dumped: None,
)
