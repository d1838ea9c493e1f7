"""Serves the explorer as a live page on this machine."""

from collections.abc import Callable, Iterable, Sequence

from ..data.bad_files import require_readable
from ..data.samples import BadFile
from ..data.split_choice import SplitChoice
from .attribution.methods import METHODS
from .explorer.gallery import Gallery
from .explorer.open import chosen_methods, fitted_images, watch_all
from .explorer.server import ExplorerServer
from .images import ImageLike, readable
from .watched import Source


def explore(
    checkpoint: Source,
    images: Iterable[ImageLike] | ImageLike,
    *,
    against: Source | None = None,
    methods: Sequence[str] = (),
    texts: Sequence[str] = (),
    top_k: int = 5,
    split: SplitChoice = "all",
    limit: int | None = 20,
    strict: bool = True,
    image_size: int | None = None,
    device: str = "auto",
    port: int = 0,
    say: Callable[[str], None] = lambda sentence: None,
) -> ExplorerServer:
    """Serve the explorer on 127.0.0.1 from a separate thread; `explain(…, "page.html")` writes it to a file.

    Open `.url` of the returned server in a browser. `.stop()`, or leaving its `with` block, ends the server.

    Args:
        checkpoint, images, against, texts, top_k, image_size, device: as in `explain`.
        methods: attribution methods on the page; all of `methods.METHODS` by default.
        split: the part of each source, see `choose_split`.
        limit: at most so many images of each source.
        strict: see `explain`.
        port: 0 for any free one.
        say: function that is called with a message for every image that cannot be read.

    Raises:
        VitrailError: no image can be read; the port is taken.
    """
    watched = watch_all(checkpoint, against, image_size=image_size, device=device, texts=texts, say=say)
    chosen = chosen_methods(methods, METHODS)
    found, _ = fitted_images(images, watched, checkpoint, split=split, limit=limit, strict=strict)
    unreadable: list[tuple[str, str]] = []
    shown = readable(found, say, unreadable)
    require_readable(len(shown), [BadFile(name, reason) for name, reason in unreadable])
    server = ExplorerServer(Gallery(watched, shown, methods=chosen, top_k=top_k, unreadable=unreadable), port)
    server.start()
    return server
