"""The command `vitrail convert`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..progress import to_stderr
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
    num_heads: Annotated[int | None, Option(shown_default="the usual number")] = None
    """Number of heads, which the shapes of the weights do not show."""
    image_size: Annotated[int | tuple[int, int] | None, Option(shown_default="from the weights")] = None
    """Side, or height and width, in pixels; needed for positions of images that were not square."""
    activation: Annotated[Literal["gelu", "gelu_tanh", "quick_gelu"] | None, Option()] = None
    """Activation of CLIP and SigLIP, which the names of the weights do not show."""

    def run(self) -> None:
        from ..checkpoint.origin import origin_words
        from ..checkpoint.transfer import convert

        given = {"num_heads": self.num_heads, "image_size": self.image_size, "activation": self.activation}
        facts = {name: value for name, value in given.items() if value is not None}
        info = convert(self.weights, self.out, architecture=self.architecture, **facts).info
        origin = origin_words(info) or f"converted from {self.weights}"
        to_stderr(f"{self.out}: {info['architecture']}, {origin}")
        # A checkpoint that was trained here keeps what was changed before its training; now nothing is.
        before = "before its training: " if info.get("trained_on") and not facts else ""
        for sentence in info["adapted"]:
            to_stderr(f"  {before}{sentence}")
