"""Compares annotations with the sizes of their images, and turns those that were made before EXIF was applied."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Shaped
from PIL import Image
from torch import Tensor

from .annotations import Box, MapLabel
from .boxes import STEPS, turned_box
from .depth_source import DepthFile
from .facts_cache import Facts
from .image_header import quarter_turn
from .map_facts import MapFacts, map_facts
from .regions import RegionMap
from .samples import BadFile, Sample
from .survey import Survey

__all__ = ["TurnedMap", "fit_annotations"]


@dataclass(frozen=True, slots=True)
class TurnedMap:
    """A `MapLabel` turned as Pillow's `Image.transpose` does."""

    inner: MapLabel
    turn: Image.Transpose

    def read(self) -> Shaped[Tensor, "H W"]:
        """Read and turn it.

        Raises:
            BadImage: the file cannot be read.
        """
        found = self.inner.read()
        swap, *flips = STEPS[self.turn]
        found = found.T if swap else found
        axes = [axis for axis, flip in zip((1, 0), flips, strict=True) if flip]
        return (found.flip(axes) if axes else found).contiguous()


def fit_annotations(survey: Survey) -> Survey:
    """Compare boxes and maps with the sizes of their images.

    Annotations are for the upright image, as labelling programs show it, if their size is that of the upright image.
    If it is that of the stored one, whose EXIF orientation (5 to 8) swaps height and width, they are turned with the
    image. Orientations 2 to 4, and square images, have the same size both ways: their annotations are taken as those
    of the upright image. Annotations of any other size make the image a bad file, and so do maps that cannot be read.

    Args:
        survey: the survey of a source; one without boxes or maps is returned as it is.
    """
    if survey.source.label_kind not in ("boxes", "maps"):
        return survey
    samples, facts, bad = [], [], list(survey.bad)
    stated = _stated(survey.source.samples)
    for sample, fact, size in zip(survey.source.samples, survey.facts, stated, strict=True):
        outcome = size if isinstance(size, BadFile) else _fitted(sample, fact, size)
        if isinstance(outcome, BadFile):
            bad.append(outcome)
        else:
            samples.append(outcome)
            facts.append(fact)
    source = replace(survey.source, samples=tuple(samples))
    return replace(survey, source=source, facts=tuple(facts), bad=tuple(bad))


def _stated(samples: Sequence[Sample]) -> list[tuple[int, int] | BadFile | None]:
    """Height and width that the annotations of each sample are for; those of depths are in their files."""
    labels = [sample.labels[0] if sample.labels and sample.annotated_size is None else None for sample in samples]
    depths = {label.path: label for label in labels if isinstance(label, DepthFile)}
    found = dict(zip(depths, map_facts(list(depths), "depth", lambda path: depths[path].facts()), strict=True))

    def size(sample: Sample, label: Any) -> tuple[int, int] | BadFile | None:
        if not isinstance(label, DepthFile):
            return sample.annotated_size
        fact = found[label.path]
        if isinstance(fact, MapFacts):
            return fact.height, fact.width
        return BadFile(sample.name, f"its depth {label.path}: {fact.reason}")

    return [size(sample, label) for sample, label in zip(samples, labels, strict=True)]


def _fitted(sample: Sample, facts: Facts, size: tuple[int, int] | None) -> Sample | BadFile:
    upright = (facts.height, facts.width)
    if size is None:  # fractions of the sides fit every size
        return replace(sample, labels=tuple(_sized(label, upright) for label in sample.labels))
    if size == upright:
        return sample if sample.annotated_size == size else replace(sample, annotated_size=size)
    turn = quarter_turn(sample.location) if size == upright[::-1] else None
    if turn is None:
        return BadFile(sample.name, _other_size(size, upright))
    return replace(sample, labels=tuple(_turned(label, turn) for label in sample.labels), annotated_size=upright)


def _sized(label: Any, size: tuple[int, int]) -> Any:
    return label.sized(*size) if isinstance(label, RegionMap) else label


def _turned(label: Any, turn: Image.Transpose) -> Any:
    return turned_box(label, turn) if isinstance(label, Box) else TurnedMap(label, turn)


def _other_size(size: tuple[int, int], upright: tuple[int, int]) -> str:
    (height, width), (own_height, own_width) = size, upright
    return (
        f"annotations are for {width}×{height}, the image is {own_width}×{own_height}: annotate this image, or put the "
        "one that was annotated in its place"
    )
