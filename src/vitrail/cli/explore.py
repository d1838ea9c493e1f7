"""`vitrail explore`."""

import sys
import threading
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
    """Image files, folders, globs, or a source such as digits."""

    against: str | None = None
    """A second checkpoint, to compare with."""

    port: int = 0
    """0 for any free one."""

    open: bool = True
    """Open the page in a browser."""

    top_k: int = 5
    """Number of classes to show."""

    limit: int | None = 20
    """At most so many images of each folder, glob or source."""

    methods: tuple[str, ...] = ()
    """Attribution methods on the page; all of docs/attribution.md by default."""

    image_size: int | None = None
    """Another size than the model's own, in pixels; positions are resampled."""

    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""

    def run(self) -> None:
        from ..lens.explore import explore

        with explore(
            self.checkpoint,
            self.images,
            against=self.against,
            methods=self.methods,
            top_k=self.top_k,
            limit=self.limit,
            image_size=self.image_size,
            device=self.device,
            port=self.port,
            say=lambda sentence: print(f"vitrail: {sentence}", file=sys.stderr),
        ) as server:
            print(server.url, flush=True)
            print("vitrail: open it in a browser; Ctrl-C stops", file=sys.stderr)
            if self.open:
                # Beside the server: a browser of the terminal would keep it from answering.
                threading.Thread(target=_open, args=(server.url,), daemon=True).start()
            try:
                server.wait()
            except KeyboardInterrupt:
                print("vitrail: stopped", file=sys.stderr)


def _open(url: str) -> None:
    try:
        opened = webbrowser.open(url)
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        print("vitrail: no browser could be opened here: copy the address into one", file=sys.stderr)
