"""Opens checkpoints and images as a gallery, for `explain` and `explore`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from torch import Tensor

from ...checkpoint.contract import path_of
from ...data.decode import BadImage
from ...data.split_choice import SplitChoice
from ...errors import VitrailError
from ..attribution.method import Attribution
from ..attribution.methods import find_method
from ..images import ImageLike, named_images
from ..watched import Source, Watched, watch
from .gallery import fitted


def watch_all(
    checkpoint: Source,
    against: Source | None,
    *,
    image_size: int | None = None,
    device: str = "auto",
    texts: Sequence[str] = (),
    say: Callable[[str], None] = lambda sentence: None,
) -> list[Watched]:
    """Open one or two checkpoints, see `watch`; `say` gets the notes about the texts.

    Raises:
        VitrailError: they take images of different channels.
    """
    sources = [checkpoint] if against is None else [checkpoint, against]
    watched = [watch(source, image_size=image_size, device=device, texts=texts) for source in sources]
    for note in dict.fromkeys(note for subject in watched for note in subject.notes):
        say(note)
    if len({subject.preprocess.frames for subject in watched}) > 1:
        raise VitrailError("the two models differ in the frames that they take: compare models that take the same")
    if len({subject.preprocess.channels for subject in watched}) > 1:
        raise VitrailError("the two models take images of different channels: compare models that take the same")
    return watched


def fitted_images(
    images: Iterable[ImageLike] | ImageLike,
    watched: Sequence[Watched],
    checkpoint: Source,
    *,
    split: SplitChoice,
    limit: int | None,
    strict: bool,
) -> tuple[Iterator[tuple[str, Sequence[Tensor] | BadImage]], int]:
    """Iterate over (name, the image as each of the models takes it); also return their number, see `named_images`.

    Args:
        watched: the models.
        checkpoint: the first of them, whose run recorded the splits.
    """
    preprocess, then = watched[0].preprocess, partial(fitted, watched)
    return named_images(
        images,
        preprocess.channels,
        limit,
        then=then,
        split=split,
        run=path_of(checkpoint),
        strict=strict,
        least=_enough(watched),
        frames=preprocess.frames,
    )


def _enough(watched: Sequence[Watched]) -> int | None:
    """Shorter side that is enough for all models; None if one needs the whole image."""
    sides = [one.preprocess.enough for one in watched]
    known = [side for side in sides if side is not None]
    return max(known) if len(known) == len(sides) else None


def chosen_methods(names: Sequence[str], default: Iterable[str]) -> dict[str, Attribution]:
    """Attribution methods by name; those of `default` if no names are given.

    Raises:
        VitrailError: an unknown name.
    """
    return {name: find_method(name) for name in names or default}
