"""The attentions of a plain encoder as layers between the image and the tokens that the head reads.

Rollout, flow and their relatives follow the tokens from layer to layer. This requires that every layer mixes the same
patches, as in ViTs with any prefix, bias, mask or positions, and in CaiT, whose class token is added late. It is
impossible for windows and pyramids.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import VitrailError
from ...nn import Tokens, VisionModel
from ..capture import Look, capture
from ..naming import attends_of
from ..observe import observe_attention
from ..reading import stated_reading
from .passes import Pixels, encoded, with_graph

Layers = Sequence[Float[Tensor, "B R M"]]
"""A map for each layer, from first to last: R queries, the first of M tokens; the other tokens pass unchanged."""

ELSEWHERE = "use grad_cam, integrated_gradients or occlusion"


def encoder_layers(model: VisionModel) -> list[int]:
    """Numbers of the attentions inside the encoder, without those of the head.

    Raises:
        VitrailError: there are none.
    """
    layers = [index for index, name in enumerate(attends_of(model)) if name.startswith("encoder.")]
    if not layers:
        raise VitrailError(f"the encoder of this model has no attention to follow: {ELSEWHERE}")
    return layers


def looked_through(model: VisionModel, pixels: Pixels) -> tuple[list[Look], Tokens]:
    """The inputs of every attention, and the tokens that the head reads, in the caller's gradient mode.

    Raises:
        VitrailError: the layers do not all mix the same patches.
    """
    with capture(model, encoder_layers(model)) as seen:
        tokens = encoded(model, pixels)
    looks = list(seen.values())
    check_plain(looks, tokens)
    return looks, tokens


def check_plain(looks: Sequence[Look], tokens: Tokens) -> None:
    """Raise VitrailError unless every layer mixes all patches, with no more prefix tokens than the head reads."""
    batch, patches = tokens.x.shape[0], tokens.patches.shape[1]
    for look in looks:
        queries, keys = look.given.q.shape[2], look.given.k.shape[2]
        if look.given.q.shape[0] != batch or queries > keys or not patches <= keys <= tokens.x.shape[1]:
            raise VitrailError(
                f"{look.name} looks at {keys} tokens for {queries} queries, in windows or on another grid than the"
                f" {patches} patches at the end, or some are merged or removed in between: attention cannot be followed"
                f" to the image; {ELSEWHERE}"
            )


def reading(model: VisionModel, tokens: Tokens) -> Float[Tensor, "B N"]:
    """Dependence of the head on each token, as fractions that sum to 1.

    The head, or its pool, states them (`nn.ReadsTokens`): 1 for the class token of a ViT, equal for all patches under
    mean pooling, half each for the two tokens of a distilled DeiT, and the weights of a pool with a learned query. For
    other heads they are proportional to the norms of the gradient of log Σ exp(logits) with respect to the tokens;
    if that is 0, the first token, or the mean of the patches if there is no prefix.
    """
    stated = stated_reading(model)
    if stated is None:
        return _dependence(model, tokens)
    if stated.weighted:
        with observe_attention(model.head, layers=-1) as seen:
            model.head(tokens)
        return seen[-1].mean(dim=1)[:, 0]
    batch, count = tokens.x.shape[:2]
    return stated.shares(tokens.prefix, count - tokens.prefix, tokens.x).expand(batch, -1)


def _dependence(model: VisionModel, tokens: Tokens) -> Float[Tensor, "B N"]:
    with with_graph():
        x = tokens.x.detach().clone().requires_grad_()
        logits = model.head(tokens.with_x(x))
        gradient = torch.autograd.grad(logits.logsumexp(dim=-1).sum(), x)[0]
    shares = gradient.norm(dim=2)
    total = shares.sum(dim=1, keepdim=True)
    return torch.where(total > 0, shares / total.clamp(min=torch.finfo(shares.dtype).tiny), _usual(tokens, shares))


def pulled_back(row: Float[Tensor, "B *Q N"], layers: Layers) -> Float[Tensor, "B *Q M"]:
    """row · (I + last) · … · (I + first): rows over the last tokens, pulled back to the first.

    A row through L layers costs L N², the product of the layers L N³. Layers with fewer keys than the row has tokens
    are before the prefix tokens were added, which do not depend on the image.
    """
    for layer in reversed(layers):
        queries, keys = layer.shape[1:]
        row = row[..., -keys:]
        asked = row[..., :queries]
        row = row + (asked @ layer if row.ndim == 3 else (asked.unsqueeze(1) @ layer).squeeze(1))
    return row


def _usual(tokens: Tokens, like: Tensor) -> Tensor:
    usual = torch.zeros_like(like)
    usual[:, : 1 if tokens.prefix else None] = 1
    return usual / usual.sum(dim=1, keepdim=True)
