"""Attention weighted by the norms of its values and by its gradient.

"Beyond intuition: rethinking token attributions inside transformers" (Chen et al., 2022), its token-wise variant.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import LayerScale, ReducingResidual, Residual, Tokens, VisionModel
from ..capture import Look, capture, weight_gradients
from ..edit import edit_features
from ..naming import attends_of
from .layers import encoder_layers, looked_through, pulled_back, reading
from .method import Method
from .passes import Map, Pixels, Targets, for_each, patch_map, scores_of, with_graph


def perception_map(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    *,
    steps: int = 20,
    first_layer: int = 0,
    batch: int = 8,
) -> Map:
    """Contribution of each patch to the tokens that the head reads, times the gradient of attention; never negative.

    Perception: P ← P + Ā diag(‖W v_j‖ / ‖x_j‖) P from P = I, Ā the mean over the heads, W v_j the projected value of
    token j, x_j the token. Feedback: F = mean over heads of max(0, ∫ ∂y(α x)/∂A dα) for the last layer's A. The map
    is P ∘ F in the rows that the head reads.

    Args:
        steps: points of the integral, midpoints of equal parts: each a forward pass and a backward pass of one layer.
        first_layer: layers before this one are ignored; the authors ignore the first three of twelve.
        batch: number of passes at once.
    """
    if steps < 1:
        raise VitrailError(f"steps {steps} is too few: the integral needs at least 1")
    with torch.no_grad():
        with _streams(model) as streams:
            looks, tokens = looked_through(model, pixels)
        start = reading(model, tokens)
        # Talking heads may have negative weights, which cannot be fractions.
        shares = [look.weights().mean(dim=1).clamp(min=0) for look in looks]
        layers = [token_wise(share, _carried(model, look, streams)) for share, look in zip(shares, looks, strict=True)]
        feedback = _feedback(model, pixels, targets, steps, batch)
        rows = (start[:, : feedback.shape[1]] != 0).any(dim=0).nonzero().squeeze(1)
        begin = torch.eye(start.shape[1], dtype=layers[0].dtype, device=start.device)[rows]
        perceived = pulled_back(begin.expand(len(start), -1, -1), layers[first_layer:])
        taken = perceived * feedback[:, rows, -perceived.shape[2] :]
        return patch_map((start[:, rows].unsqueeze(1).to(taken.dtype) @ taken).squeeze(1), tokens)


def token_wise(weights: Float[Tensor, "B R M"], carried: Float[Tensor, "B M"]) -> Float[Tensor, "B R M"]:
    """Ā diag(carried): attention, weighted by the relative size of each token's value."""
    return weights * carried.unsqueeze(1).to(weights.dtype)


def _carried(model: nn.Module, look: Look, streams: dict[str, Tensor]) -> Float[Tensor, "B M"]:
    """‖W v_j‖ / ‖x_j‖ for each token j of a layer, layer scale included."""
    attention: Any = model.get_submodule(look.name.rpartition(".")[0])
    values = look.given.v.transpose(1, 2).flatten(2)
    if not isinstance(getattr(attention, "project", None), nn.Linear):
        raise VitrailError(f"{look.name} has no linear projection after its heads: use generic or rollout")
    given = nn.functional.linear(values, attention.project.weight)
    name = _residual_of(model, look.name)
    scale = model.get_submodule(name).scale
    if isinstance(scale, LayerScale):
        given = scale(given)
    stream = streams[name][:, -given.shape[1] :]
    return given.norm(dim=2) / stream.norm(dim=2).clamp(min=torch.finfo(given.dtype).tiny)


def _feedback(model: VisionModel, pixels: Pixels, targets: Targets, steps: int, batch: int) -> Float[Tensor, "B R M"]:
    last = encoder_layers(model)[-1]
    # The graph begins after the last layer's attention: only gradients of later operations are needed.
    begin = {attends_of(model)[last]: lambda output: output.detach().requires_grad_()}
    jobs = torch.cartesian_prod(torch.arange(len(pixels)), torch.arange(steps)).to(pixels.device)
    total: Tensor | None = None
    for image, step in (part.unbind(1) for part in jobs.split(batch)):
        at = for_each(((step + 0.5) / steps).to(pixels.dtype), pixels)
        with with_graph(), edit_features(model, begin), capture(model, last) as seen:
            score = scores_of(model(pixels[image] * at), targets.to(image.device)[image]).sum()
            (gradient,) = weight_gradients(score, [seen[last]])
        if total is None:
            total = gradient.new_zeros(len(pixels), *gradient.shape[1:])
        total.index_add_(0, image, gradient / steps)
    assert total is not None
    return total.clamp(min=0).mean(dim=1)


@contextmanager
def _streams(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Name of a residual -> its input sequence."""
    seen: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, Residual | ReducingResidual):

                def keep(module: nn.Module, args: tuple[Tokens, ...], name: str = name) -> None:
                    seen[name] = args[0].x

                hooks.callback(module.register_forward_pre_hook(keep).remove)
        yield seen


def _residual_of(model: nn.Module, name: str) -> str:
    """Name of the residual that contains a module."""
    parts: Sequence[str] = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        holder = ".".join(parts[:end])
        if isinstance(model.get_submodule(holder), Residual | ReducingResidual):
            return holder
    raise VitrailError(f"{name} is in no residual, so its output cannot be compared with its tokens")


METHOD = Method("Beyond intuition", perception_map, signed=False)
