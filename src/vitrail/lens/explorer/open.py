"""Opens checkpoints and images as a gallery, for `explain` and `explore`."""

from collections.abc import Iterable, Sequence

from ...errors import VitrailError
from ..attribution.method import Attribution
from ..attribution.methods import find_method
from ..watched import Source, Watched, watch


def watch_all(
    checkpoint: Source, against: Source | None, *, image_size: int | None = None, device: str = "auto"
) -> list[Watched]:
    """Open one or two checkpoints.

    Raises:
        VitrailError: they take images of different channels.
    """
    sources = [checkpoint] if against is None else [checkpoint, against]
    watched = [watch(source, image_size=image_size, device=device) for source in sources]
    if len({subject.preprocess.channels for subject in watched}) > 1:
        raise VitrailError("the two models take images of different channels: compare models that take the same")
    return watched


def chosen_methods(names: Sequence[str], default: Iterable[str]) -> dict[str, Attribution]:
    """Attribution methods by name; those of `default` if no names are given."""
    return {name: find_method(name) for name in names or default}
