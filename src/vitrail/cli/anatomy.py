"""The command `vitrail study anatomy`."""

from dataclasses import dataclass
from pathlib import Path

from .options import CheckpointArgument, Device, Limit, Out, Precision, SourcesArgument, Split, Strict
from .results import print_notes


@dataclass
class Anatomy:
    """Write a page with measures of every layer of a model.

    Attention distance of each head, similarity of the tokens in each block, the pixels that a token depends on, and
    similarity of position embeddings.

    Examples:
        vitrail study anatomy runs/flowers 'flowers/*.jpg' -o anatomy.html
    """

    checkpoint: CheckpointArgument
    images: SourcesArgument
    split: Split = "all"
    limit: Limit = 8
    strict: Strict = True
    blocks: int = 6
    """Number of blocks to draw, evenly spaced from the first to the last."""
    device: Device = "auto"
    precision: Precision = "auto"
    out: Out = Path("anatomy.html")
    """Page to write, or folder for the page and a CSV file of the attention distances."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..pages.files import is_folder
        from ..progress import visible
        from ..study.anatomy import study_anatomy, write_anatomy
        from ..tables import check_file, check_folder

        (check_folder if is_folder(self.out) else check_file)(self.out)
        found = study_anatomy(
            load(self.checkpoint),
            self.images,
            blocks=self.blocks,
            split=self.split,
            limit=self.limit,
            strict=self.strict,
            device=self.device,
            precision=self.precision,
            progress=visible,
        )
        page = write_anatomy(found, self.checkpoint, self.out)
        print_notes(found.left_out)
        print(page)
