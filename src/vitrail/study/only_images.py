"""Which models the studies of images take."""

from ..errors import VitrailError
from ..models.fields import ModelConfig


def require_images(config: ModelConfig, work: str) -> None:
    """Raise VitrailError for a model of clips.

    Args:
        work: what is refused, as a plural: "probes".
    """
    if config.frames is not None:
        shape = "×".join(map(str, config.pixels_shape))
        raise VitrailError(f"this model takes videos, {shape}: {work} need a model of images")
