"""The command `vitrail explore`."""

import threading
import webbrowser
from dataclasses import dataclass
from typing import Annotated

from .options import CheckpointArgument, Device, Limit, Option, SourcesArgument, Split, Strict
from .results import print_note


@dataclass
class Explore:
    """Open a local page in the browser: hover over a patch to see its attention in every layer and head.

    The server listens on 127.0.0.1 until Ctrl-C. `vitrail explain … --out page.html` writes the page to a file instead.

    Examples:
        vitrail explore runs/flowers garden/
        vitrail explore runs/flowers rose.jpg --against runs/cnn
    """

    checkpoint: CheckpointArgument

    images: SourcesArgument

    against: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Second checkpoint to compare with."""

    port: int = 0
    """Port of the server; 0 selects a free one."""

    open: bool = True
    """Print the address only, without opening a browser."""

    top_k: int = 5
    """Number of classes to show."""

    split: Split = "all"

    strict: Strict = True

    limit: Limit = 20

    methods: tuple[str, ...] = ()
    """Attribution methods on the page, by default all; docs/attribution.md lists them."""

    texts: Annotated[str, Option(metavar='"A;B"')] = ""
    """Texts to compare with the images, for a model of images and texts, such as "a red square left of a blue circle":
    which patches meet the text and each of its words. Several are separated by semicolons."""

    image_size: int | None = None
    """Image size in pixels, by default the model's; positions are resampled."""

    device: Device = "auto"

    def run(self) -> None:
        from ..engines.zero_shot import parse_classes
        from ..lens.explore import explore

        with explore(
            self.checkpoint,
            self.images,
            against=self.against,
            methods=self.methods,
            texts=parse_classes(self.texts),
            top_k=self.top_k,
            split=self.split,
            limit=self.limit,
            strict=self.strict,
            image_size=self.image_size,
            device=self.device,
            port=self.port,
            say=print_note,
        ) as server:
            print(server.url, flush=True)
            print_note("open it in a browser; Ctrl-C stops")
            if self.open:
                # In a thread: a browser in the terminal would block the server.
                threading.Thread(target=_open, args=(server.url,), daemon=True).start()
            try:
                server.wait()
            except KeyboardInterrupt:
                print_note("stopped")


def _open(url: str) -> None:
    try:
        opened = webbrowser.open(url)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print_note("no browser could be opened here: copy the address into one")
