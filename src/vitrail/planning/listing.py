"""All models with what they cost."""

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import VitrailError
from ..models.parts import pair
from ..models.registry import list_models, model_config
from .flops import count


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCost:
    """A variant and its cost. FLOPs are of a forward pass of one image, a multiply and an add being two."""

    name: str
    parameters: int
    flops: int
    image_size: tuple[int, int]

    @property
    def size_words(self) -> str:
        """224×224."""
        return "×".join(map(str, self.image_size))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def list_costs(pattern: str = "*") -> list[ModelCost]:
    """The variants whose names match a shell pattern, with their default number of classes and image size.

    Raises:
        VitrailError: no name matches.
    """
    names = list_models(pattern)
    if not names:
        raise VitrailError(f"no model matches {pattern!r}: `vitrail models` lists all {len(list_models())}")
    return [_cost(name) for name in names]


def _cost(name: str) -> ModelCost:
    config = model_config(name)
    counted = count(config)
    return ModelCost(name=name, parameters=counted.parameters, flops=counted.flops, image_size=pair(config.image_size))
