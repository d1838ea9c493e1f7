"""Text embeddings, ids (B, L) -> Tokens, and pools of text tokens."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, fx, nn

from ..tokens import Tokens


class TextEmbed(nn.Module):
    """Learned vectors of token ids and of positions: ids (B, L) -> Tokens with grid (L,).

    Args:
        vocab_size: size of the vocabulary.
        dim: width D.
        context_length: largest number of tokens; shorter texts use the first positions.
    """

    def __init__(self, vocab_size: int, dim: int, context_length: int) -> None:
        super().__init__()
        self.context_length = context_length
        self.words = nn.Embedding(vocab_size, dim)
        self.positions = nn.Parameter(torch.empty(1, context_length, dim))
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def forward(self, ids: Int[Tensor, "B L"]) -> Tokens:
        ids = _checked(ids, self.context_length)
        length = ids.shape[1]
        return Tokens(self.words(ids) + self.positions[:, :length], grid=(length,))


class CausalMask(nn.Module):
    """Causal mask: no token attends to later ones. Tokens -> (N, N), 0 or minus infinity."""

    def forward(self, tokens: Tokens) -> Float[Tensor, "N N"]:
        return _causal_mask(tokens.x)


# torch.fx cannot trace code that depends on shapes: calls of these functions are leaves of its graphs.


@fx.wrap
def _checked(ids: Int[Tensor, "B L"], context_length: int) -> Int[Tensor, "B L"]:
    if ids.shape[1] > context_length:
        raise ValueError(
            f"texts of {ids.shape[1]} tokens are longer than the context of {context_length}: "
            "truncate them, as `vitrail.data.tokenize.Tokenizer` does"
        )
    return ids


@fx.wrap
def _causal_mask(x: Float[Tensor, "B N D"]) -> Float[Tensor, "N N"]:
    return torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype, device=x.device).triu(1)


class EndOfText(nn.Module):
    """Pool that selects the end-of-text token, the first one with the highest id: (Tokens, ids) -> (B, D).

    CLIP's pool (Radford et al., 2021, "Learning transferable visual models", section 2.4): under a causal mask only the
    last token attends to the whole text.
    """

    def forward(self, tokens: Tokens, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        end = ids.argmax(dim=1)[:, None, None].expand(-1, -1, tokens.x.shape[2])
        return tokens.x.gather(1, end)[:, 0]


class LastToken(nn.Module):
    """Pool that selects the token at the last position, padding or not: (Tokens, ids) -> (B, D)."""

    def forward(self, tokens: Tokens, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        return tokens.x[:, -1]
