"""vitrail explain."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..errors import VitrailError
from ..task_spec import MULTI_LABEL
from .options import CheckpointArgument, Device, Limit, Option, Out, SourcesArgument


@dataclass
class Explain:
    """Show where a model looks: a PNG for each image, and one page with every layer and head.

    With --out page.html it writes the explorer: one page to click through, without a server or network. With
    --evaluate it scores the attribution methods on labelled images. Prints the paths of what it wrote, the page last.

    Examples:
        vitrail explain runs/flowers garden/ -o explained
        vitrail explain runs/flowers rose.jpg -o rose.html --methods rollout
    """

    checkpoint: CheckpointArgument

    images: SourcesArgument

    out: Out = Path("explained")
    """Folder to write to, where images of the same name are replaced; or a page, if the name ends in .html."""

    against: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Second checkpoint to compare with, on a page."""

    top_k: int = 5
    """Number of classes to show."""

    limit: Limit = None

    methods: tuple[str, ...] = ()
    """Attribution methods (docs/attribution.md lists them) of a page, by default a few quick ones, or for --evaluate,
    by default all."""

    evaluate: bool = False
    """Score the methods on a labelled source, beside random maps and a map of the image's centre."""

    image_size: int | None = None
    """Image size of a page in pixels, by default the model's; positions are resampled. The size of attention weights
    grows with its fourth power."""

    masks: Path | None = None
    """Folder for --evaluate with a mask of each image's object, white on black, under the image's name."""

    device: Device = "auto"

    def run(self) -> None:
        if self.evaluate:
            from .faithfulness import judge

            judge(self.checkpoint, self.images, self.methods, self.masks, self.limit, self.device, self.out)
        elif self.masks:
            raise VitrailError("--masks is for judging methods: add --evaluate")
        elif self.out.suffix.lower() in (".html", ".htm"):
            self._write_page()
        elif self.against or self.methods or self.image_size:
            raise VitrailError("--against, --methods and --image-size are for a page: name one with --out page.html")
        else:
            self._write_folder()

    def _write_page(self) -> None:
        from ..lens.attribution.methods import QUICK
        from ..lens.explorer.page import most_bytes, write_page
        from .gallery import gallery

        asked = (self.checkpoint, self.against, self.images, self.limit, self.top_k, self.device)
        shown = gallery(*asked, methods=self.methods or QUICK, most=most_bytes, image_size=self.image_size)
        size = write_page(shown, self.out, lambda sentence: print(f"vitrail: {sentence}", file=sys.stderr))
        print(f"vitrail: {size / 1e6:.1f} MB{self._way_out(size, len(shown))}", file=sys.stderr)
        print(self.out)

    def _way_out(self, size: int, views: int) -> str:
        from ..lens.explorer.page import ALL_BYTES, MOST_BYTES

        if size <= min(views * 1.2 * MOST_BYTES, 1.1 * ALL_BYTES):
            return ""
        return ", a page that is slow to open: choose a smaller --image-size, fewer pictures, or vitrail explore"

    def _write_folder(self) -> None:
        from ..checkpoint.contract import load
        from ..lens.explain import explain_images, named_images
        from ..machine.facts import pick_device
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
            task="multi" if checkpoint.task == MULTI_LABEL else "single",
            total=total,
            progress=visible,
            say=lambda sentence: print(sentence, file=sys.stderr),
        )
        print("\n".join(map(str, paths)))
