"""Features after each block for probes, and the logit lens, which applies the model's head to them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import Stage, Tokens, joined
from ..observe import observe_features


def block_names(model: nn.Module) -> tuple[str, ...]:
    """Full names of the encoder's blocks, or of a pyramid's stages: "encoder.blocks.0" and so on.

    Raises:
        VitrailError: the model has no encoder with blocks.
    """
    encoder = getattr(model, "encoder", None)
    blocks = getattr(encoder, "blocks", None)
    if not isinstance(blocks, nn.Module) or not len(list(blocks.children())):
        raise VitrailError(f"{type(model).__name__} has no encoder of blocks: there are no layers to probe")
    return tuple(f"encoder.blocks.{name}" for name, _ in blocks.named_children())


@torch.inference_mode()
def layer_features(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> dict[str, dict[str, Tensor]]:
    """Pooled features after every block: {block: {"class": (B, D), "mean": (B, D)}}.

    "class" is the first prefix token, and missing if there is none; "mean" is the mean over the patches, or over the
    map of a pyramid's stage.

    Raises:
        VitrailError: there are no blocks, or the output of one has no patches, or packed ones.
    """
    return {name: pooled(name, output) for name, output in _outputs(model, pixels).items()}


@torch.inference_mode()
def logit_lens(model: nn.Module, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "L B K"]:
    """Logits after each block: the model's last norm and head applied to the output of every block.

    nostalgebraist (2020), "interpreting GPT: the logit lens". The last of the L blocks has the model's own logits.
    Works with a class token, with two (distilled) and with a mean over patches. The blocks must share one residual
    stream.

    Raises:
        VitrailError: the blocks differ in width, grid or prefix, as in a pyramid, or the head has not one row of logits
            for each image.
    """
    check_stream(model)
    outputs = _outputs(model, pixels)
    *_, last = outputs.values()
    for name, output in outputs.items():
        if not isinstance(output, Tokens) or output.x.shape != last.x.shape or output.grid != last.grid:
            raise VitrailError(f"{name} returns another shape than the last block: {_NO_LENS}")
    head, norm = model.get_submodule("head"), model.get_submodule("encoder.norm")
    logits = [joined(head(output.with_x(norm(output.x)))) for output in outputs.values()]
    if not isinstance(logits[0], Tensor) or logits[0].ndim != 2:
        raise VitrailError("the head of this model does not score classes: the logit lens needs a classifier")
    return torch.stack(logits)


_NO_LENS = "the logit lens needs blocks of one width and grid, as a ViT has; linear probes work here"


def check_stream(model: nn.Module) -> None:
    """Raise VitrailError if the logit lens does not apply, as far as this is known without pixels."""
    names = block_names(model)
    if any(isinstance(model.get_submodule(name), Stage) for name in names):
        raise VitrailError(f"this model is a pyramid, and its head only fits the last stage: {_NO_LENS}")
    if not isinstance(getattr(model.encoder, "norm", None), nn.Module):
        raise VitrailError(f"the encoder has no norm before the head: {_NO_LENS}")


def _outputs(model: nn.Module, pixels: Tensor) -> dict[str, Tokens]:
    names = block_names(model)
    with observe_features(model, *names) as seen:
        model(pixels)
    return {name: seen[name] for name in names}


def pooled(name: str, output: object) -> dict[str, Float[Tensor, "B D"]]:
    """Pooled features of a block's output, see `layer_features`.

    Raises:
        VitrailError: it has no patches, or packed ones; the message has the block's `name`.
    """
    if not isinstance(output, Tokens) or output.lengths or not output.patches.shape[1]:
        raise VitrailError(f"{name} returns no patches that could be averaged: this model cannot be probed")
    first = {"class": output.x[:, 0]} if output.prefix else {}
    return {**first, "mean": output.patches.mean(dim=1)}
