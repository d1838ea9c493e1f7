"""A small DETR with weights that make its attention uneven."""

import torch
from torch import nn

from vitrail.data.preprocess import Preprocess
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model
from vitrail.tasks.detection import Detection

OBJECTS = ("cat", "dog", "fox")


def detr(threshold: float = 0.3, *, queries: int = 4, image_size: int = 64) -> Watched:
    """Two by two patches, as many as queries unless stated, two layers of the decoder, two heads."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "num_heads": 2, "depth": 1, "decoder_depth": 2, "depths": (1, 1, 1, 1)}
    model = create_model("detr_resnet50", image_size=image_size, num_queries=queries, num_classes=3, **sizes).eval()
    for name, parameter in model.head.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=2.0 if name.startswith("classify") else 0.5)
    side = (image_size, image_size)
    return Watched("detr", model, Preprocess(image_size=side, crop=1.0), OBJECTS, Detection(threshold=threshold))
