"""Detection head: Tokens -> Detections."""

from jaxtyping import Float
from torch import Tensor, nn

from ..tokens import Tokens
from .decoder import QueryDecoder
from .outputs import Detections


class DetectionHead(nn.Module):
    """Decode queries, and predict class and box of each (Carion et al., 2020, "DETR", section 3.2).

    Tokens -> Detections.

    Args:
        decoder: Tokens of the image -> Tokens of the queries, see `QueryDecoder`.
        dim: width D of the queries.
        num_classes: classes K; "no object" is class K.
    """

    def __init__(self, decoder: QueryDecoder, dim: int, num_classes: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.classify = nn.Linear(dim, num_classes + 1)
        self.box = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 4), nn.Sigmoid()
        )

    def forward(self, tokens: Tokens) -> Detections:
        return self._predict(self.decoder(tokens))

    def forward_blocks(self, tokens: Tokens, others: Float[Tensor, "G Q D"] | None = None) -> tuple[Detections, ...]:
        """Detections after each block of the decoder, the last as in `forward`, for auxiliary losses (section 3.2).

        Args:
            tokens: of the image.
            others: further groups of queries, whose detections follow, see `QueryDecoder.forward_blocks`.
        """
        return tuple(self._predict(queries) for queries in self.decoder.forward_blocks(tokens, others))

    def _predict(self, queries: Tokens) -> Detections:
        return Detections(self.classify(queries.x), self.box(queries.x))
