"""Options of the decoder of masked autoencoders, which those of images and of videos share."""

from typing import Any

from ..errors import VitrailError

_HEAD_DIM = 32


def require_decoder(dim: int | None, depth: int | None) -> None:
    """Raise VitrailError unless width and number of blocks of a decoder are possible, or None."""
    if dim is not None and (dim < _HEAD_DIM or dim % _HEAD_DIM):
        raise VitrailError(f"objective.decoder_dim is {dim}: it needs to be a multiple of {_HEAD_DIM}")
    if depth is not None and not 1 <= depth <= 1000:
        raise VitrailError(f"objective.decoder_depth is {depth}: it needs at least 1, at most 1000")


def decoder_fields(dim: int | None, depth: int | None) -> dict[str, Any]:
    """Fields of a config for a decoder of this width and depth; None keeps those of the variant."""
    width: dict[str, Any] = {} if dim is None else {"decoder_dim": dim, "decoder_heads": dim // _HEAD_DIM}
    return width if depth is None else {**width, "decoder_depth": depth}
