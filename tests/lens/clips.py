"""Small models of clips with weights that make their attention uneven."""

import torch
from torch import Tensor, nn

from vitrail.data.preprocess import Preprocess
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model

SIDE = 32
KINDS = {
    # variant and fields; frames, tokens along the time
    "divided": ("timesformer_base_patch16_224", {}, 4, 4),
    "space": ("timesformer_space_patch16_224", {}, 4, 4),
    "joint": ("videomae_small_patch16_224", {}, 8, 4),
    "compact": ("compact_video_small_64", {"stem": (8,)}, 4, 2),
}


def video(kind: str) -> Watched:
    """Frames of 2 by 2 patches, of the compact model 8 by 8; two layers, two heads."""
    torch.manual_seed(0)
    variant, fields, frames, _ = KINDS[kind]
    patches = {} if kind == "compact" else {"patch_size": 16}
    sizes = {"image_size": SIDE, "num_frames": frames, "embed_dim": 16, "num_heads": 2, "depth": 2, "num_classes": 3}
    model = create_model(variant, **{**sizes, **patches, **fields}).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.4)
    preprocess = Preprocess(image_size=(SIDE, SIDE), crop=1.0, frames=frames)
    return Watched(kind, model, preprocess, ("left", "right", "up"))


def clip(kind: str) -> Tensor:
    """Noise, (T, 3, H, W)."""
    shape = (KINDS[kind][2], 3, SIDE, SIDE)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
