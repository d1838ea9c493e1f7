"""The command `vitrail study anatomy`."""

from dataclasses import dataclass
from pathlib import Path

from ..tables import write_csv, write_text
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
        import torch

        from ..checkpoint.contract import load
        from ..data.bad_files import require_readable
        from ..data.samples import BadFile
        from ..engines.precision import on_device, pick_device, pick_precision, place_model, reduced_precision
        from ..lens.anatomy import anatomy
        from ..lens.anatomy_page import anatomy_page, distance_rows
        from ..lens.images import named_images, readable
        from ..lens.outputs import image_model
        from ..pages.image import displayable
        from ..progress import visible
        from ..study.files import is_folder

        checkpoint = load(self.checkpoint)
        refused: list[str] = []
        found, _ = named_images(
            self.images,
            checkpoint.preprocess.channels,
            self.limit,
            then=checkpoint.preprocess.fit,
            split=self.split,
            run=checkpoint.path,
            strict=self.strict,
        )
        unreadable: list[tuple[str, str]] = []
        images = readable(found, refused.append, unreadable)
        require_readable(len(images), [BadFile(name, reason) for name, reason in unreadable])
        device = pick_device(self.device)
        precision = pick_precision(self.precision, device)
        model = place_model(image_model(checkpoint.model).eval(), device)
        pixels = on_device(torch.stack([checkpoint.preprocess.normalise(image) for _, image in images]), device)
        with reduced_precision(device, precision):
            measured = anatomy(model, pixels, blocks=self.blocks, progress=visible)
        shown = [(name, displayable(image)) for name, image in images]
        title = f"The anatomy of {Path(self.checkpoint).name}"
        place = self.out / "anatomy.html" if is_folder(self.out) else self.out
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, anatomy_page(title, measured, shown, refused))
        if is_folder(self.out):
            write_csv(self.out / "anatomy.csv", distance_rows(measured))
        print_notes(refused)
        print(place)
