"""Detection head: Tokens -> Detections."""

from torch import nn

from ..tokens import Tokens
from .outputs import Detections


class DetectionHead(nn.Module):
    """Decode queries, and predict class and box of each (Carion et al., 2020, "DETR", section 3.2).

    Tokens -> Detections.

    Args:
        decoder: Tokens of the image -> Tokens of the queries.
        dim: width D of the queries.
        num_classes: classes K; "no object" is class K.
    """

    def __init__(self, decoder: nn.Module, dim: int, num_classes: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.classify = nn.Linear(dim, num_classes + 1)
        self.box = nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 4), nn.Sigmoid()
        )

    def forward(self, tokens: Tokens) -> Detections:
        queries = self.decoder(tokens).x
        return Detections(self.classify(queries), self.box(queries))
