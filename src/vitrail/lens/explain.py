"""Explain pictures: a PNG for each, and one page for all."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from ..data.decode import BadImage
from ..data.open import open_source, read_image
from ..data.preprocess import Preprocess
from ..data.samples import short_names
from ..errors import VitrailError
from ..progress import Track, silent
from .explanation import Explanation, explain_image
from .page import explanation_page
from .sheet import write_sheet


def explain_images(
    model: nn.Module,
    preprocess: Preprocess,
    class_names: Sequence[str],
    images: Iterable[tuple[str, Tensor | BadImage]],
    out: Path,
    *,
    top_k: int = 5,
    task: Literal["single", "multi"] = "single",
    total: int = 0,
    progress: Track = silent,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Path]:
    """Write `NAME.png` for each picture and one `explain.html` with all of them into a folder.

    The maps lie over the picture as the model sees it: resized and cropped by `preprocess`.

    Args:
        model: in evaluation mode.
        class_names: in the order of the logits; may be empty.
        images: (name, image (C, H, W)); for a file that could not be read, (name, the error), which the page
            lists.
        out: the folder; made if it is not there. Files of the same names are replaced.
        top_k: how many classes are shown.
        task: "single" or "multi", see `explain_image`.
        total: how many images there are, for the progress.
        say: is told of every file that could not be read.

    Returns:
        The paths, the page last.

    Raises:
        VitrailError: no image could be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    done: list[Explanation] = []
    unreadable: list[tuple[str, str]] = []
    paths: list[Path] = []
    taken: set[str] = set()
    for name, image in progress(images, total, "explain"):
        if isinstance(image, BadImage):
            unreadable.append((name, image.reason))
            say(f"left out {name}: {image.reason}")
            continue
        done.append(explain_image(model, preprocess, class_names, name, image, top_k=top_k, task=task))
        paths.append(out / f"{file_stem(name, taken)}.png")
        write_sheet(done[-1], paths[-1])
    if not done:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in unreadable[:3])
        raise VitrailError(f"no picture could be read ({reasons or 'none was given'}): name other files")
    page = out / "explain.html"
    page.write_text(explanation_page(done, unreadable), encoding="utf-8")
    return [*paths, page]


def named_images(
    specs: Iterable[str], channels: int, limit: int | None = None
) -> tuple[Iterator[tuple[str, Tensor | BadImage]], int]:
    """The images that files, folders, globs or sources name, for `explain_images`, and how many there are.

    They are read one by one as they are asked for, and called by as much of their paths as tells them apart.

    Args:
        specs: what `open_source` takes.
        channels: how many the model takes.
        limit: at most so many, from each the first.
    """
    found = [open_source(spec, labelled=False) for spec in specs]
    samples = [sample for source in found for sample in source.samples[:limit]]
    bad = [file for source in found for file in source.bad]

    def read() -> Iterator[tuple[str, Tensor | BadImage]]:
        for shown, sample in zip(short_names([sample.name for sample in samples]), samples, strict=True):
            try:
                yield shown, read_image(sample, channels)
            except BadImage as error:
                yield sample.name, error
        for file in bad:
            yield file.name, BadImage(file.name, file.reason)

    return read(), len(samples) + len(bad)


def readable(
    images: Iterable[tuple[str, Tensor | BadImage]], say: Callable[[str], None] = lambda sentence: None
) -> list[tuple[str, Tensor]]:
    """The images without those that could not be read, which `say` is told of."""
    found = []
    for name, image in images:
        if isinstance(image, BadImage):
            say(f"left out {name}: {image.reason}")
        else:
            found.append((name, image))
    return found


def file_stem(name: str, taken: set[str]) -> str:
    """A file name for a picture: the last part of `name` without its suffix, safe on every system, not in
    `taken`.

    `taken` is added to, and compared without case.
    """
    stem = re.sub(r"[^\w.\- ]+", "_", Path(name).stem).strip(" ._")[:60] or "picture"
    free, number = stem, 1
    while free.casefold() in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(free.casefold())
    return free
