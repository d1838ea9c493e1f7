"""`vitrail explain`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import VitrailError
from ..task_spec import MULTI_LABEL


@dataclass
class Explain:
    """Show where a model looks: a PNG for each picture, and one page with every layer and head.

    --out page.html writes the explorer instead: one file to click through, which needs no server and no network.
    --evaluate judges the methods themselves, on labelled pictures. Prints the paths of what it wrote, the page last.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run folder, a checkpoint, or weights from elsewhere (a file, a folder or a hub id)."""

    images: tyro.conf.Positional[list[str]]
    """Picture files, folders, globs, or a source such as digits."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("explained")
    """The folder to write to; pictures of the same names in it are replaced. Or a page: a name that ends in .html."""

    against: str | None = None
    """A second checkpoint to compare with, on a page."""

    top_k: int = 5
    """How many classes to show."""

    limit: int | None = None
    """Explain only so many pictures of each folder, glob or source."""

    methods: tuple[str, ...] = ()
    """Ways to say where a prediction comes from: those of a page (by default a few quick ones), or those that
    --evaluate judges (all). docs/attribution.md names them."""

    evaluate: bool = False
    """A table of how far each method can be believed, on a labelled source, beside chance and the picture's centre."""

    image_size: int | None = None
    """On a page: another size than the model's own, in pixels; positions are resampled. Attention weights grow with
    its fourth power."""

    masks: Path | None = None
    """With --evaluate: a folder with the object of each picture, white on black, under the picture's own name."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""

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
