"""`vitrail study anatomy`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import VitrailError


@dataclass
class Anatomy:
    """Measures of a model's layers, as one page: vitrail study anatomy runs/flowers flowers/*.jpg -o anatomy.html

    The mean attention distance of each head, principal components of each block's tokens, effective receptive fields,
    and the similarity of positions.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    images: tyro.conf.Positional[list[str]]
    """Image files, folders, globs, or a source such as digits."""
    limit: int = 8
    """At most so many images of each folder, glob or source."""
    blocks: int = 6
    """Number of blocks that are drawn, from the first to the last."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("anatomy.html")
    """The page."""

    def run(self) -> None:
        import torch

        from ..checkpoint.contract import load
        from ..lens.anatomy import anatomy
        from ..lens.anatomy_page import anatomy_page
        from ..lens.images import named_images, readable
        from ..machine.facts import pick_device
        from ..pages.image import displayable
        from ..progress import visible

        checkpoint = load(self.checkpoint)
        refused: list[str] = []
        found, _ = named_images(self.images, checkpoint.preprocess.channels, self.limit)
        images = [(name, checkpoint.preprocess.fit(image)) for name, image in readable(found, refused.append)]
        if not images:
            raise VitrailError(f"no image could be read ({'; '.join(refused) or 'none was given'}): name other files")
        place = pick_device(self.device)
        pixels = torch.stack([checkpoint.preprocess.normalise(image) for _, image in images]).to(place)
        measured = anatomy(checkpoint.model.to(place).eval(), pixels, blocks=self.blocks, progress=visible)
        shown = [(name, displayable(image)) for name, image in images]
        title = f"The anatomy of {Path(self.checkpoint).name}"
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(anatomy_page(title, measured, shown, refused), encoding="utf-8")
        for sentence in refused:
            print(f"vitrail: {sentence}", file=sys.stderr)
        print(self.out)
