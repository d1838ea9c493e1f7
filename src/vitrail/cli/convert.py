"""`vitrail convert`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass
class Convert:
    """Make a checkpoint of weights from elsewhere: timm, transformers, torchvision, .npz, or a .pth pickle.

    Pickles are read in a process of their own, and refused when they hold more than tensors.
    """

    source: tyro.conf.Positional[str]
    """A file, a folder or a hub id such as timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k."""

    target: tyro.conf.Positional[Path]
    """The checkpoint to write: a folder, or a .safetensors file."""

    architecture: str | None = None
    """The variant, such as vit_base_patch16_224, where the weights' shapes do not tell."""

    def run(self) -> None:
        from ..checkpoint.transfer import transfer

        info = transfer(self.source, self.target, architecture=self.architecture).info
        print(f"{self.target}: {info['architecture']} from {info['origin']}", file=sys.stderr)
        for sentence in info["adapted"]:
            print(f"  {sentence}", file=sys.stderr)
