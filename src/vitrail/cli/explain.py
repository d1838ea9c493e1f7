"""The command `vitrail explain`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from .options import CheckpointArgument, Device, Limit, Option, Out, SourcesArgument, Split, Strict
from .results import print_note


@dataclass
class Explain:
    """Show a model's attention on images: a PNG for each, and a page with every layer and head.

    The page needs no server and no network. Prints the paths of the files, the page last.

    Examples:
        vitrail explain runs/flowers garden/ -o explained
        vitrail explain runs/flowers rose.jpg -o rose.html --methods rollout
        vitrail explain runs/captions scene.png --texts "a red square"
    """

    checkpoint: CheckpointArgument

    images: SourcesArgument

    out: Out = Path("explained")
    """Folder to write to, replacing files of the same names; or a file ending in .html, for the page only."""

    against: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Second checkpoint to compare with on the page."""

    top_k: int = 5
    """Number of classes to show."""

    split: Split = "all"

    strict: Strict = True

    limit: Limit = None

    methods: tuple[str, ...] = ()
    """Attribution methods on the page, by default those that take one or two passes; docs/attribution.md lists them."""

    texts: Annotated[str, Option(metavar='"A;B"')] = ""
    """Texts to compare with the images, for a model of images and texts, such as "a red square left of a blue circle":
    which patches meet the text and each of its words. Several are separated by semicolons."""

    image_size: int | None = None
    """Image size in pixels, by default the model's; positions are resampled. The size of attention weights grows with
    its fourth power."""

    device: Device = "auto"

    def run(self) -> None:
        from ..engines.zero_shot import parse_classes
        from ..lens.explain import explain
        from ..progress import visible

        paths = explain(
            self.checkpoint,
            self.images,
            self.out,
            against=self.against,
            methods=self.methods,
            texts=parse_classes(self.texts),
            top_k=self.top_k,
            split=self.split,
            limit=self.limit,
            strict=self.strict,
            image_size=self.image_size,
            device=self.device,
            progress=visible,
            say=print_note,
        )
        print("\n".join(map(str, paths)))
