"""`Memory`: what the blocks of a decoder attend to."""

from dataclasses import dataclass

import torch.utils._pytree as pytree
from jaxtyping import Float
from torch import Tensor

from ..tokens import Tokens


@dataclass(frozen=True, slots=True)
class Memory:
    """Inputs of a decoder block in addition to the queries.

    Attributes:
        places: learned embeddings of the queries (B, Q, D), added to them when they are queries or keys.
        keys: the image's M tokens with their positions.
        values: the image's tokens without positions.
    """

    places: Float[Tensor, "B Q D"]
    keys: Tokens
    values: Tokens


# A pytree, so that drop path can select the memory of some images of a batch.
pytree.register_dataclass(Memory)
