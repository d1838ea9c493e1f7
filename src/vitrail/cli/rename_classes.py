"""The command `vitrail rename-classes`."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from .options import CheckpointArgument, Option, OptionalOut
from .results import print_note

_SHOWN = 20


@dataclass
class RenameClasses:
    """Rename the classes of a checkpoint, or the numbers of a regression.

    Of a run, all checkpoints are renamed: the best one, which every command loads, and those to resume from. Its report
    and model card keep the old names until `vitrail train --resume RUN` writes them again.

    Examples:
        vitrail rename-classes runs/flowers n11939491=daisy n12620546=rose
        vitrail rename-classes runs/flowers daisy=Gänseblümchen -o models/blumen
    """

    checkpoint: CheckpointArgument
    names: Annotated[list[str], Option("Old and new name of a class.", "OLD=NEW", positional=True)]
    out: OptionalOut = None
    """Renamed copy to write, a folder or a .safetensors file, instead of changing the checkpoint itself."""

    def run(self) -> None:
        from ..checkpoint.rename_classes import DESCRIPTIONS, rename_classes
        from ..training.run_lock import RunLock

        place = Path(self.checkpoint)
        is_run = self.out is None and (place / "checkpoints").is_dir()
        with RunLock(place) if is_run else nullcontext():  # a run that goes on would write the old names again
            names = rename_classes(self.checkpoint, self.names, self.out)
        shown = ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
        print_note(f"{self.out or self.checkpoint} has the classes {shown}")
        described = [name for name in DESCRIPTIONS if is_run and (place / name).is_file()]
        if described:
            print_note(
                f"{', '.join(described)} have the old names until `vitrail train --resume {place}` writes "
                "them again; splits.csv and data.json keep the names of the source. To evaluate, name the classes of "
                "the images alike"
            )
