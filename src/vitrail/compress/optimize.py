"""Finds the fastest way to run a checkpoint on this machine, and stores it beside the checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ..checkpoint.contract import Checkpoint, CheckpointLike, as_checkpoint
from ..data.open import SourceLike
from ..engines.choice import checkpoint_folder, machine_name
from ..engines.setting import of_images
from ..errors import VitrailError
from ..progress import Say, Track, discard_message, silent
from .decide import best, cautions
from .images import TestImages, read_test_images
from .measure import Bench, Outcome
from .options import DEFAULTS, OptimizeOptions
from .search import Search
from .store import store, storing


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimised:
    """Result of a search.

    Attributes:
        outcomes: what was measured, in order; the first is the unmodified model.
        chosen: the setting that was taken; None if none was faster.
        stored: folder where it is stored for this machine; None if nothing is stored.
        images: number of images that predictions were compared on.
        notes: sentences on images, machine, and what was not tried.
        cautions: limits of the measurement.
        options: settings of the search.
    """

    outcomes: tuple[Outcome, ...]
    chosen: Outcome | None
    stored: Path | None
    images: int
    notes: tuple[str, ...]
    cautions: tuple[str, ...]
    options: OptimizeOptions


def optimize(
    checkpoint: CheckpointLike,
    source: SourceLike | None = None,
    *,
    options: OptimizeOptions = DEFAULTS,
    progress: Track = silent,
    say: Say = discard_message,
) -> Optimised:
    """Find the fastest way to run a checkpoint here: `optimize("runs/flowers", "flowers/").chosen`.

    Engines, number formats, streams and reductions of the tokens are measured in turn with the unmodified model. The
    fastest that loses at most `max_drop` points on the images is stored beside the checkpoint, and `predict`, `eval`
    and `embed` use it on this machine. Without a source only settings whose outputs are equal to 1e-3 are taken.

    Args:
        checkpoint: a checkpoint of vitrail on disk.
        source: images that are compared on; with labels of the model, its accuracy counts, otherwise the share of
            predictions that change.
        options: settings of the search.
        progress: reports the images that are read.
        say: receives a line for each setting.

    Raises:
        VitrailError: a checkpoint that is not on disk, or not of a model of images; its folder cannot be written to, or
            another process searches for the same checkpoint.
    """
    found = as_checkpoint(checkpoint)
    folder = checkpoint_folder(found.path)
    if folder is None:
        raise VitrailError(
            "the result is stored in the folder of a checkpoint, and this one has none: save it to a folder first, "
            "with `vitrail convert CHECKPOINT -o FOLDER`"
        )
    part = of_images(found)
    if len(part.config.pixels_shape) != 3 or len(part.config.example_inputs()) != 1:
        raise VitrailError("only models of images can be optimised: this one takes other inputs")
    with storing(folder):
        images, notes = _test_images(part, source, options, progress)
        search = Search(part, Bench(part, images, options.batch_size, options.device, options.seconds), options, say)
        search.run()
        count = len(images.images) if images else 0
        chosen = best(search.outcomes, options.max_drop, count)
        least = search.smallest_drop(chosen)
        graph = None if chosen is None or chosen.setting is None else search.graph(chosen.setting)
        whole = not search.skipped
        stored = store(found, folder, chosen, graph, options.batch_size, replace_by_none=whole)
    return Optimised(
        outcomes=tuple(search.outcomes),
        chosen=chosen,
        stored=stored,
        images=count,
        notes=(f"machine: {machine_name()}, PyTorch {torch.__version__}", *notes, *search.notes),
        cautions=tuple(cautions(chosen, options.max_drop, count, least)),
        options=options,
    )


def _test_images(
    checkpoint: Checkpoint, source: SourceLike | None, options: OptimizeOptions, progress: Track
) -> tuple[TestImages | None, list[str]]:
    if source is None:
        return None, ["no images were given: only settings whose outputs are equal to 1e-3 are taken"]
    images = read_test_images(checkpoint, source, options.limit, options.seed, progress=progress)
    if images.are_alike:
        return None, [
            f"the images hardly differ ({images.note}), so that nothing can be measured on them: only settings whose "
            "outputs are equal to 1e-3 are taken"
        ]
    kind = "accuracy on" if images.targets is not None else "predictions compared on"
    return images, [f"{kind} {images.note}"]
