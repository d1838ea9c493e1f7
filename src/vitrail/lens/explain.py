"""Explains images: a PNG for each, and the explorer as one page."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from ..data.bad_files import require_readable
from ..data.decode import BadImage
from ..data.samples import BadFile
from ..data.split_choice import SplitChoice
from ..errors import VitrailError
from ..progress import Track, silent
from .attribution.method import Attribution
from .attribution.methods import METHODS, QUICK
from .explanation import explain_image
from .explorer.gallery import Gallery
from .explorer.open import chosen_methods, fitted_images, watch_all
from .explorer.page import ALL_BYTES, MOST_BYTES, MOST_VIEWS, most_bytes, write_page
from .images import ImageLike, file_stem
from .sheet import write_sheet
from .watched import Source, Watched

PAGE = "explain.html"
"""File name of the page in a folder."""

BEST_FOR_TEXTS = "generic"
"""Method whose maps of words are most often brightest on the object that the word names, see LOG.md."""

Say = Callable[[str], None]


Fitted = Sequence[Tensor]
"""An image as each of the models takes it."""


@dataclass(slots=True)
class _Read:
    """Images of the page, number of images read, (name, reason) of unreadable ones, and paths of the PNGs."""

    kept: list[tuple[str, Fitted]] = field(default_factory=list)
    count: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)


def explain(
    checkpoint: Source,
    images: Iterable[ImageLike] | ImageLike,
    out: str | os.PathLike[str] = "explained",
    *,
    against: Source | None = None,
    methods: Sequence[str] = (),
    texts: Sequence[str] = (),
    top_k: int = 5,
    split: SplitChoice = "all",
    limit: int | None = None,
    strict: bool = True,
    image_size: int | None = None,
    device: str = "auto",
    progress: Track = silent,
    say: Say = lambda sentence: None,
) -> list[Path]:
    """Write the attention of a model on images: a PNG for each, and a page with every layer and head.

    Of clips the page has the frames side by side, and the PNGs each frame under the last layer and which frames the
    patches of a frame attend to.

    The page is the explorer in one file, which needs no server and no network. In a folder it holds the first
    60 views (a model and an image); every image has a PNG.

    Args:
        checkpoint: a checkpoint, or what `load` takes.
        images: files, folders, globs, sources or Datasets; or Pillow images, arrays and tensors (C, H, W).
        out: a folder, where files of the same names are replaced; or a file ending in .html for the page alone.
        against: a second checkpoint, to compare with on the page.
        methods: attribution methods on the page, see `methods.METHODS`; those that take a pass or two by default.
        texts: texts to compare with the images, for a model of images and texts: which patches meet the text and each
            of its words, see `vitrail.lens.texts`.
        top_k: how many classes are shown.
        split: the part of each source, see `choose_split`.
        limit: at most so many images of each source.
        strict: False also takes damaged files that can still be decoded, such as JPEGs of which a part is grey.
        image_size: another size than the model's own, in pixels; positions are resampled. Attention weights grow with
            its fourth power.
        device: "auto", "cpu", "cuda" or "cuda:1".
        progress: receives the progress over the images, and over the views of the page.
        say: gets a sentence about every image that is left out, and about the page.

    Returns:
        The paths, the page last if there is one.

    Raises:
        VitrailError: no image can be read, the attention cannot be drawn, or a page alone cannot hold all images.
    """
    target = Path(out)
    watched = watch_all(checkpoint, against, image_size=image_size, device=device, texts=texts, say=say)
    chosen = chosen_methods(methods, QUICK)
    found, total = fitted_images(images, watched, checkpoint, split=split, limit=limit, strict=strict)
    alone = target.suffix.lower() in (".html", ".htm")
    if alone:
        most_bytes(max(1, total) * len(watched))  # raises its error before anything is read
    room = MOST_VIEWS // len(watched)
    png = Sheets(watched[0], chosen, top_k)
    read = _go_through(png, progress(found, total, "explain"), None if alone else target, room, say)
    _check_read(read, room, say)
    most = most_bytes(len(read.kept) * len(watched))
    shown = Gallery(watched, read.kept, methods=chosen, top_k=top_k, most=most, unreadable=read.unreadable)
    return [*read.paths, _written(shown, target if alone else target / PAGE, progress, say)]


def _written(shown: Gallery, page: Path, progress: Track, say: Say) -> Path:
    """Write the page, and say how large it is."""
    size = write_page(shown, page, progress)
    say(f"{page}: {size / 1e6:.1f} MB{_advice(size, len(shown))}")
    return page


def _check_read(read: _Read, room: int, say: Say) -> None:
    """Raise VitrailError if no image could be read, and report images that the page has no room for."""
    require_readable(read.count, [BadFile(name, reason) for name, reason in read.unreadable])
    if read.count > room:
        say(f"the page holds the first {room} of {read.count} images: vitrail explore opens them all")


def _go_through(
    sheets: "Sheets",
    images: Iterable[tuple[str, Fitted | BadImage]],
    folder: Path | None,
    room: int,
    say: Say,
) -> _Read:
    """Read the images one by one, and write a PNG of each if there is a folder."""
    read, taken = _Read(), set[str]()
    for name, image in images:
        if isinstance(image, BadImage):
            read.unreadable.append((name, image.reason))
            say(f"left out {name}: {image.reason}")
            continue
        read.count += 1
        if len(read.kept) < room:  # images beyond the page's room are not needed again
            read.kept.append((name, image))
        if folder is not None:
            path = folder / f"{file_stem(name, taken)}.png"
            try:
                sheets.write(name, image[0], path)
            except VitrailError as error:  # the page draws more kinds of layers, or gives its own reason
                say(f"no PNG of {name}: {error}")
            else:
                read.paths.append(path)
    return read


@dataclass(frozen=True, slots=True)
class Sheets:
    """Writer of PNGs.

    Attributes:
        watched: the model.
        methods: attribution methods; `BEST_FOR_TEXTS`, or the first that depends on a class, maps texts and words.
        top_k: how many classes are shown.
    """

    watched: Watched
    methods: Mapping[str, Attribution]
    top_k: int

    def write(self, name: str, image: Tensor, path: Path) -> None:
        """Write the attention of the model on one resized image (C, H, W) as a PNG; its folder is created."""
        path.parent.mkdir(parents=True, exist_ok=True)
        able = {name: method for name, method in self.methods.items() if method.by_class}
        method = able.get(BEST_FOR_TEXTS) or next(iter(able.values()), METHODS[BEST_FOR_TEXTS])
        write_sheet(explain_image(self.watched.of_fitted, name, image, top_k=self.top_k, method=method), path)


def _advice(size: int, views: int) -> str:
    if size <= min(views * 1.2 * MOST_BYTES, 1.1 * ALL_BYTES):
        return ""
    return ", slow to open: choose a smaller image size, fewer images, or vitrail explore"
