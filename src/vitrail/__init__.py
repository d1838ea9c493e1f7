"""vitrail: Vision Transformers, trained on your own pictures, explained down to the single attention head."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint.contract import Checkpoint, load, save
    from .checkpoint.convert import convert_state_dict
    from .evaluation.embed import embed
    from .evaluation.evaluate import evaluate
    from .evaluation.predict import predict
    from .lens.draw import visualize_attention_weights, visualize_patches
    from .lens.edit import edit_attention, edit_features
    from .lens.observe import observe_attention, observe_features
    from .lens.rollout import rollout
    from .models.registry import create_model, list_models
    from .training.recipe import Recipe
    from .training.run import Run, train

__version__ = "0.1.0"

# Each name is imported when it is first used, so that `import vitrail` and `vitrail --help` do not wait for torch.
_HOMES = {
    "Checkpoint": "checkpoint.contract",
    "Recipe": "training.recipe",
    "Run": "training.run",
    "convert_state_dict": "checkpoint.convert",
    "create_model": "models.registry",
    "edit_attention": "lens.edit",
    "edit_features": "lens.edit",
    "embed": "evaluation.embed",
    "evaluate": "evaluation.evaluate",
    "list_models": "models.registry",
    "load": "checkpoint.contract",
    "observe_attention": "lens.observe",
    "observe_features": "lens.observe",
    "predict": "evaluation.predict",
    "rollout": "lens.rollout",
    "save": "checkpoint.contract",
    "train": "training.run",
    "visualize_attention_weights": "lens.draw",
    "visualize_patches": "lens.draw",
}

__all__ = [
    "Checkpoint",
    "Recipe",
    "Run",
    "convert_state_dict",
    "create_model",
    "edit_attention",
    "edit_features",
    "embed",
    "evaluate",
    "list_models",
    "load",
    "observe_attention",
    "observe_features",
    "predict",
    "rollout",
    "save",
    "train",
    "visualize_attention_weights",
    "visualize_patches",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitrail' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
