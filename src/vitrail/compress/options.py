"""The settings of a search for the fastest way to run a checkpoint."""

from dataclasses import dataclass

from ..errors import VitrailError


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizeOptions:
    """Settings of the search.

    Attributes:
        max_drop: accuracy that may be lost, in points.
        batch_size: images of a batch; 1 for the shortest time of a single image.
        minutes: no setting is begun after this time.
        seconds: time for measuring the speed of a setting.
        limit: most images that predictions are compared on.
        device: see `make_engine`.
        seed: of the draw of images.
        engines: names of the engines to try; by default those that are installed and start quickly.

    Raises:
        VitrailError: a number out of range, or an engine that is not installed.
    """

    max_drop: float = 0.5
    batch_size: int = 8
    minutes: float = 10.0
    seconds: float = 3.0
    limit: int = 500
    device: str = "auto"
    seed: int = 0
    engines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.max_drop <= 100:
            raise VitrailError(f"max_drop {self.max_drop:g} is not possible: it is in points, from 0 to 100")
        if self.batch_size < 1 or self.limit < 1:
            raise VitrailError(f"batch size {self.batch_size} and limit {self.limit}: both need to be 1 or more")
        if not (self.minutes > 0 and self.seconds > 0):
            raise VitrailError(f"{self.minutes:g} minutes and {self.seconds:g} seconds: both need to be more than 0")


DEFAULTS = OptimizeOptions()
