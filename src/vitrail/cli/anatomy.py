"""vitrail study anatomy."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import VitrailError


@dataclass
class Anatomy:
    """How a model looks, as one page: vitrail study anatomy runs/flowers flowers/*.jpg -o anatomy.html

    How far each head looks, what the tokens of each block have in common, which pixels move a token, and which
    positions are alike.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    images: tyro.conf.Positional[list[str]]
    """Picture files, folders, globs, or a source such as digits."""
    limit: int = 8
    """At most so many pictures of each folder, glob or source."""
    blocks: int = 6
    """How many blocks are drawn, from the first to the last."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("anatomy.html")
    """The page."""

    def run(self) -> None:
        import torch

        from ..checkpoint.contract import load
        from ..lens.anatomy import anatomy
        from ..lens.anatomy_page import anatomy_page
        from ..lens.explain import named_images, readable
        from ..machine.facts import pick_device
        from ..pages.image import displayable
        from ..progress import visible

        checkpoint = load(self.checkpoint)
        refused: list[str] = []
        found, _ = named_images(self.images, checkpoint.preprocess.channels, self.limit)
        pictures = [(name, checkpoint.preprocess.fit(image)) for name, image in readable(found, refused.append)]
        if not pictures:
            raise VitrailError(f"no picture could be read ({'; '.join(refused) or 'none was given'}): name other files")
        place = pick_device(self.device)
        pixels = torch.stack([checkpoint.preprocess.normalise(image) for _, image in pictures]).to(place)
        measured = anatomy(checkpoint.model.to(place).eval(), pixels, blocks=self.blocks, progress=visible)
        shown = [(name, displayable(image)) for name, image in pictures]
        title = f"The anatomy of {Path(self.checkpoint).name}"
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self.output.write_text(anatomy_page(title, measured, shown, refused), encoding="utf-8")
        for sentence in refused:
            print(f"vitrail: {sentence}", file=sys.stderr)
        print(self.output)
