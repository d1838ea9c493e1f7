"""The task of classifying clips, with one class for each."""

from dataclasses import dataclass
from typing import ClassVar

from ..errors import VitrailError
from .classification import Classification
from .outcomes import Names


@dataclass(frozen=True, kw_only=True, slots=True)
class Video(Classification):
    """Classification of clips by models whose config has frames; classes are exclusive.

    A model sees evenly spaced frames of the whole clip, in training of a random part of its time.
    """

    name: ClassVar[str] = "video"
    card_type: ClassVar[str] = "video-classification"
    heads: ClassVar[tuple[str, ...]] = ("classification", "regression", "embedding", "video")

    def __post_init__(self) -> None:
        Classification.__post_init__(self)
        if self.labels != "one":
            raise VitrailError(f"video has labels {self.labels!r}: clips have one class each, leave labels out")

    def count_words(self, names: Names) -> str:
        return f"{len(names)} classes of clips"

    def describe(self, names: Names) -> str:
        return f"the class of a clip, {Classification.describe(self, names)}"
