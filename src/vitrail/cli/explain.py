"""`vitrail explain`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass
class Explain:
    """Show where a model looks: a PNG for each image, and one page with every layer and head.

    The page needs no server and no network. Prints the paths of the files, the page last.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run folder, a checkpoint, or weights from elsewhere (a file, a folder or a hub id)."""

    images: tyro.conf.Positional[list[str]]
    """Image files, folders, globs, or a source such as digits."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("explained")
    """A folder, where files of the same names are replaced; or a file ending in .html, for the page alone."""

    against: str | None = None
    """A second checkpoint, to compare with on the page."""

    top_k: int = 5
    """Number of classes to show."""

    limit: int | None = None
    """At most so many images of each folder, glob or source."""

    methods: tuple[str, ...] = ()
    """Attribution methods on the page; by default those that take a pass or two. docs/attribution.md lists them."""

    image_size: int | None = None
    """Another size than the model's own, in pixels; positions are resampled. Attention weights grow with its fourth
    power."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""

    def run(self) -> None:
        from ..lens.explain import explain
        from ..progress import visible

        paths = explain(
            self.checkpoint,
            self.images,
            self.out,
            against=self.against,
            methods=self.methods,
            top_k=self.top_k,
            limit=self.limit,
            image_size=self.image_size,
            device=self.device,
            progress=visible,
            say=lambda sentence: print(f"vitrail: {sentence}", file=sys.stderr),
        )
        print("\n".join(map(str, paths)))
