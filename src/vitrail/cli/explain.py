"""`vitrail explain`."""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass
class Explain:
    """Show where a model looks: a PNG for each picture, and one page with every layer and head.

    Prints the paths of what it wrote, the page last.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run folder, a checkpoint, or weights from elsewhere (a file, a folder or a hub id)."""

    images: tyro.conf.Positional[list[str]]
    """Picture files, folders, globs, or a source such as digits."""

    out: Path = Path("explained")
    """The folder to write to; pictures of the same names in it are replaced."""

    top_k: int = 5
    """How many classes to show."""

    limit: int | None = None
    """Explain only so many pictures of each folder, glob or source."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..lens.explain import explain_images, named_images
        from ..planning.machine import pick_device
        from ..progress import visible

        checkpoint = load(self.checkpoint)
        images, total = named_images(self.images, checkpoint.preprocess.channels, self.limit)
        paths = explain_images(
            checkpoint.model.to(pick_device(self.device)).eval(),
            checkpoint.preprocess,
            checkpoint.class_names,
            images,
            self.out,
            top_k=self.top_k,
            task=checkpoint.info.get("task", "single"),
            total=total,
            progress=visible,
            say=lambda sentence: print(sentence, file=sys.stderr),
        )
        print("\n".join(map(str, paths)))
