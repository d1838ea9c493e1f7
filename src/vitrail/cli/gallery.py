"""Checkpoints and pictures for the explorer: what `explore` and `explain` share."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import VitrailError, nearest
from ..task_spec import MULTI_LABEL

if TYPE_CHECKING:
    from ..lens.explorer.gallery import Gallery


def gallery(
    checkpoint: str,
    against: str | None,
    images: Sequence[str],
    limit: int | None,
    top_k: int,
    device: str,
    methods: Sequence[str] = (),
    most: Callable[[int], int] | None = None,
    image_size: int | None = None,
) -> "Gallery":
    """Load one or two checkpoints, read the pictures, and name what could not be read. No methods means all.

    Args:
        most: bytes that each of so many views may take, for a page that is written to a file.
        image_size: another than the model's own, whose positions are then resampled.
    """
    from ..checkpoint.contract import load
    from ..lens.attribution.methods import METHODS, QUICK
    from ..lens.explain import named_images, readable
    from ..lens.explorer.data import Watched
    from ..lens.explorer.gallery import Gallery
    from ..machine.facts import pick_device

    for name in set(methods) - set(METHODS):
        raise VitrailError(f"there is no method {name!r}: {nearest(name, METHODS)}")
    place, watched = pick_device(device), []
    for name in filter(None, (checkpoint, against)):
        loaded = load(name) if image_size is None else load(name, image_size=image_size)
        label = Path(name).name or str(loaded.info.get("architecture", name))
        task: Literal["single", "multi"] = "multi" if loaded.task == MULTI_LABEL else "single"
        watched.append(Watched(label, loaded.model.to(place).eval(), loaded.preprocess, loaded.class_names, task))
    if len(watched) == 2 and watched[0].preprocess.channels != watched[1].preprocess.channels:
        raise VitrailError("the two models take pictures of different channels: compare models that take the same")
    found, total = named_images(images, watched[0].preprocess.channels, limit)
    room = most(max(1, total) * len(watched)) if most else None
    pictures = readable(found, lambda sentence: print(f"vitrail: {sentence}", file=sys.stderr))
    chosen = {name: METHODS[name] for name in methods or (*QUICK, *METHODS)}  # the quick ones first
    return Gallery(watched, pictures, methods=chosen, top_k=top_k, most=room)
