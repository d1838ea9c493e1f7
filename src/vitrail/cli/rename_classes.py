"""The command `vitrail rename-classes`."""

from dataclasses import dataclass
from typing import Annotated

from ..progress import to_stderr
from .options import CheckpointArgument, Option, OptionalOut

_SHOWN = 20


@dataclass
class RenameClasses:
    """Rename the classes of a checkpoint, or the numbers of a regression.

    A run's best checkpoint is renamed, which every command loads; its report and model card keep the old names.

    Examples:
        vitrail rename-classes runs/flowers n11939491=daisy n12620546=rose
        vitrail rename-classes runs/flowers daisy=Gänseblümchen -o models/blumen
    """

    checkpoint: CheckpointArgument
    names: Annotated[list[str], Option("Old and new name of a class.", "OLD=NEW", positional=True)]
    out: OptionalOut = None
    """Renamed copy to write, a folder or a .safetensors file, instead of changing the checkpoint itself."""

    def run(self) -> None:
        from ..checkpoint.rename_classes import rename_classes

        names = rename_classes(self.checkpoint, self.names, self.out)
        shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
        to_stderr(f"vitrail: {self.out or self.checkpoint} has the classes {shown}")
