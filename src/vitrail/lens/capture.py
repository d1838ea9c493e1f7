"""Captures inputs and outputs of attentions with their graph, for gradients of attention weights.

The model's fast kernel never forms the weights A, so their gradient cannot be hooked. Instead it is computed from the
output A v: ∂y/∂A = (∂y/∂(A v)) vᵀ, exactly, for every kernel.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .compiled import original, uncompiled
from .naming import LayerName, find_layers
from .weights import Given, chosen_weights


@dataclass(frozen=True, slots=True)
class Look:
    """Inputs and output of one `Attend`, not detached.

    Attributes:
        name: name of the module.
        attend: the module.
        given: queries, keys and values as used for the scores, and the bias of the scores.
        output: (B, h, N, e).
    """

    name: str
    attend: nn.Module
    given: Given
    output: Float[Tensor, "B h N e"]

    def weights(self) -> Float[Tensor, "B h N M"]:
        """Attention weights, recomputed, detached, in float32 or higher."""
        return chosen_weights(self.attend, self.given.q, self.given.k, self.given.dense_bias())

    def weight_gradient(self, gradient: Float[Tensor, "B h N e"]) -> Float[Tensor, "B h N M"]:
        """∂y/∂weights from ∂y/∂output."""
        return gradient @ self.given.v.detach().to(gradient.dtype).transpose(-2, -1)


@contextmanager
def capture(model: nn.Module, layers: LayerName | Iterable[LayerName] | None = None) -> Iterator[dict[int, Look]]:
    """Record inputs and outputs of attentions: `with capture(model) as seen: logits = model(pixels)`.

    After each forward pass `seen` has a `Look` for every selected layer, by its number among the model's attentions, in
    ascending order; another pass replaces them. Gradients need a graph: enable gradients, and let parameters or pixels
    require them. Compute gradients after the `with` block.

    Args:
        model: any module with `Attend` inside.
        layers: numbers among the model's attentions, or names of modules ("blocks.3"); None for all.

    Raises:
        VitrailError: an unknown layer; a model without attention.
    """
    model = original(model)
    seen: dict[int, Look] = {}
    with ExitStack() as hooks:
        hooks.enter_context(uncompiled())
        for index, name in find_layers(model, layers).items():
            hook = _keep(seen, index, name)
            hooks.callback(model.get_submodule(name).register_forward_hook(hook, with_kwargs=True).remove)
        yield seen


def weight_gradients(
    score: Float[Tensor, ""], looks: Sequence[Look], *, keep_graph: bool = False
) -> list[Float[Tensor, "B h N M"]]:
    """Return ∂score/∂weights of each layer, detached. No parameter's `.grad` is changed.

    Args:
        score: a scalar, such as the sum of a logit over the images, which are independent of each other.
        looks: captured in the forward pass of the score.
        keep_graph: keep the graph for more gradients of the same pass.
    """
    outputs = [look.output for look in looks]
    gradients = torch.autograd.grad(score, outputs, retain_graph=keep_graph, allow_unused=True, materialize_grads=True)
    return [look.weight_gradient(gradient) for look, gradient in zip(looks, gradients, strict=True)]


def _keep(seen: dict[int, Look], index: int, name: str) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        seen[index] = Look(name, module, Given.of(args, kwargs), output)

    return hook
