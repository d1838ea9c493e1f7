"""Options that the studies of checkpoints share."""

from dataclasses import dataclass

from ..data.split_choice import SplitChoice
from ..errors import VitrailError


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyOptions:
    """How a study reads images and runs a model; each study adds its own options.

    Attributes:
        skip_bad, strict: see `evaluate`.
        batch_size, device, precision: see `make_predictor`.
        seed: seed of all random choices.

    Raises:
        VitrailError: a batch size below 1.
    """

    skip_bad: bool = False
    strict: bool = True
    batch_size: int = 32
    device: str = "auto"
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise VitrailError(f"batch size {self.batch_size} is not possible: use 1 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutOptions(StudyOptions):
    """Options of a study that scores a model on images that it was not trained on.

    Attributes:
        split: part of the source, see `held_out`.
        limit: largest number of images of each part, drawn by seed; None for all.

    Raises:
        VitrailError: fewer than two images.
    """

    split: SplitChoice = "auto"
    limit: int | None = 200

    def __post_init__(self) -> None:
        StudyOptions.__post_init__(self)  # super() has no class to refer to where slots=True makes a new one
        if self.limit is not None and self.limit < 2:
            raise VitrailError(f"limit {self.limit} is too few images to study: use 2 or more, or all")
