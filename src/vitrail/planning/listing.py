"""List of all models with their costs."""

from dataclasses import asdict, dataclass
from typing import Any

from ..data.user_folders import cache_folder
from ..errors import VitrailError
from ..models.fields import pair
from ..models.registry import list_models, model_config
from ..progress import Track, silent
from .costs_cache import CostsCache


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCost:
    """A variant and its cost. FLOPs are those of a forward pass of one image; a multiply and an add count as two."""

    name: str
    parameters: int
    flops: int
    image_size: tuple[int, int]

    @property
    def size_words(self) -> str:
        """Image size as text, such as "224×224"."""
        return "×".join(map(str, self.image_size))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def list_costs(pattern: str = "*", *, progress: Track = silent) -> list[ModelCost]:
    """Costs of the variants that match a shell pattern, with their default number of classes and image size.

    Args:
        pattern: shell pattern, such as "swin*".
        progress: reports the number of models done; counts are cached in `cache_folder()`.

    Raises:
        VitrailError: no name matches.
    """
    names = list_models(pattern)
    if not names:
        raise VitrailError(f"no model matches {pattern!r}: `vitrail models` lists all {len(list_models())}")
    cache = CostsCache(cache_folder())
    costs = [_cost(name, cache) for name in progress(names, len(names), "counting")]
    cache.save()
    return costs


def _cost(name: str, cache: CostsCache) -> ModelCost:
    config = model_config(name)
    counted = cache.count(config)
    return ModelCost(name=name, parameters=counted.parameters, flops=counted.flops, image_size=pair(config.image_size))
