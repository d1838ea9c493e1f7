"""`vitrail explore`."""

import sys
import webbrowser
from dataclasses import dataclass

import tyro


@dataclass
class Explore:
    """Open a live page on this machine: hover a patch and see where it looks, in every layer and head.

    Serves 127.0.0.1 only, until Ctrl-C. `vitrail explain … --out page.html` writes the page to a file instead.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run folder, a checkpoint, or weights from elsewhere (a file, a folder or a hub id)."""

    images: tyro.conf.Positional[list[str]]
    """Picture files, folders, globs, or a source such as digits."""

    against: str | None = None
    """A second checkpoint, to compare with."""

    port: int = 0
    """0 for any that is free."""

    open: bool = True
    """Open the page in a browser."""

    top_k: int = 5
    """How many classes to show."""

    limit: int | None = 20
    """Show only so many pictures of each folder, glob or source."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""

    def run(self) -> None:
        from ..lens.explorer.server import ExplorerServer
        from .gallery import gallery

        shown = gallery(self.checkpoint, self.against, self.images, self.limit, self.top_k, self.device)
        with ExplorerServer(shown, self.port) as server:
            print(server.url, flush=True)
            print("vitrail: open it in a browser; Ctrl-C stops", file=sys.stderr)
            if self.open:
                webbrowser.open(server.url)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print("vitrail: stopped", file=sys.stderr)
