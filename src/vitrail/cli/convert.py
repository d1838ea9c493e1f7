"""The command `vitrail convert`."""

import sys
from dataclasses import dataclass
from typing import Annotated

from .options import Option, Out


@dataclass
class Convert:
    """Convert weights of timm, transformers, torchvision, big_vision (.npz) or a .pth pickle to a checkpoint.

    Pickles are read in a separate process, and rejected if they contain anything but tensors.

    Examples:
        vitrail convert vit_b_16.pth -o models/vit_b_16
        vitrail convert timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k -o tiny
    """

    weights: Annotated[str, Option(positional=True)]
    """File, folder or hub id such as timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k."""
    out: Out
    """Checkpoint to write: a folder, or a .safetensors file."""
    architecture: Annotated[str | None, Option(metavar="VARIANT", shown_default="from the weights")] = None
    """Variant, such as vit_base_patch16_224, for weights whose shapes fit more than one."""

    def run(self) -> None:
        from ..checkpoint.origin import origin_words
        from ..checkpoint.transfer import convert

        info = convert(self.weights, self.out, architecture=self.architecture).info
        origin = origin_words(info) or f"converted from {self.weights}"
        print(f"{self.out}: {info['architecture']}, {origin}", file=sys.stderr)
        for sentence in info["adapted"]:
            print(f"  {sentence}", file=sys.stderr)
