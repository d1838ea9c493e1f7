"""Options that the commands `vitrail study …` share."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from .options import BatchSize, Device, LimitDrawn, Precision, Seed, SkipBad, Split, Strict

if TYPE_CHECKING:
    from ..study.options import HeldOutOptions, StudyOptions

StudyOptionsT = TypeVar("StudyOptionsT", bound="StudyOptions")
HeldOutOptionsT = TypeVar("HeldOutOptionsT", bound="HeldOutOptions")


@dataclass(kw_only=True)
class StudyCommand:
    """Base class of the commands that study images with a checkpoint; see `StudyOptions`."""

    skip_bad: SkipBad = False
    strict: Strict = True
    batch_size: BatchSize = 32
    device: Device = "auto"
    precision: Precision = "auto"
    seed: Seed = 0

    def study_options(self, options: StudyOptionsT) -> StudyOptionsT:
        """The options of a study with those that commands share."""
        return replace(
            options,
            skip_bad=self.skip_bad,
            strict=self.strict,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            seed=self.seed,
        )


@dataclass(kw_only=True)
class HeldOutCommand(StudyCommand):
    """Base class of the commands that score a checkpoint on held-out images; see `HeldOutOptions`."""

    split: Split = "auto"
    limit: LimitDrawn = 200

    def held_out_options(self, options: HeldOutOptionsT) -> HeldOutOptionsT:
        """The options of a study with those that commands share."""
        limit = None if self.limit == "all" else self.limit
        return replace(self.study_options(options), split=self.split, limit=limit)
