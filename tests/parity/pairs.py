"""Models of pictures and texts against the peers'."""

import torch
import transformers
from torch import nn

from vitrail.checkpoint.convert import recognise
from vitrail.checkpoint.convert.rename import to_ours

from .references import both_dtypes


class Logits(nn.Module):
    """A peer's dual model as pixels, ids -> logits (A, B)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        if isinstance(self.model, transformers.PreTrainedModel):
            return self.model(pixel_values=pixels, input_ids=ids).logits_per_image
        return self.model.get_logits(pixels, ids)[0]


def assert_same_pairs(ours: nn.Module, theirs: nn.Module, pixels: torch.Tensor, ids: torch.Tensor) -> None:
    """Logits of pictures and texts agree: to 1e-5 of the largest in float32, to 1e-10 in float64."""
    peer = Logits(theirs)
    for dtype, tolerance in both_dtypes():
        with torch.no_grad():
            a, b = ours.to(dtype)(pixels.to(dtype), ids), peer.to(dtype)(pixels.to(dtype), ids)
        assert b.std() > 0.02, "the reference's logits hardly vary: the comparison would say nothing"
        assert a.shape == b.shape == (len(pixels), len(ids))
        assert (a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())), dtype


def assert_same_shapes(ours: nn.Module, theirs: nn.Module) -> None:
    """Every tensor of theirs, under our names, is one of ours in its shape."""
    state = theirs.state_dict()
    renamed = to_ours(state, recognise(state))
    assert (renamed.incomplete, renamed.unexpected) == ((), ())
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert {name: tensor.shape for name, tensor in renamed.state.items()} == shapes
