"""vitrail: Vision Transformers, trained on your own pictures, explained down to the single attention head."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checkpoint.contract import Checkpoint, load, save
    from .checkpoint.convert import convert_state_dict
    from .checkpoint.export import export_state_dict
    from .evaluation.evaluate import evaluate
    from .evaluation.predict import predict
    from .lens.draw import visualize_attention_weights, visualize_patches
    from .lens.intervene import ablate, patch_features
    from .lens.observe import features, observe
    from .lens.rollout import rollout
    from .models.courses import SimpleViT, TransformerBlock, UniversalViT, VisionTransformer, create_vit_model
    from .models.families import register
    from .models.fields import ModelConfig
    from .models.registry import create_model, list_models
    from .rewrites.registry import rewrite
    from .training.recipe import Recipe
    from .training.run import Run, train

__version__ = "0.1.0"

# Each name is imported when it is first used, so that `import vitrail` and `vitrail --help` do not wait for torch.
_HOMES = {
    "Checkpoint": "checkpoint.contract",
    "ModelConfig": "models.fields",
    "Recipe": "training.recipe",
    "Run": "training.run",
    "SimpleViT": "models.courses",
    "TransformerBlock": "models.courses",
    "UniversalViT": "models.courses",
    "VisionTransformer": "models.courses",
    "ablate": "lens.intervene",
    "convert_state_dict": "checkpoint.convert",
    "create_model": "models.registry",
    "create_vit_model": "models.courses",
    "evaluate": "evaluation.evaluate",
    "export_state_dict": "checkpoint.export",
    "features": "lens.observe",
    "list_models": "models.registry",
    "load": "checkpoint.contract",
    "observe": "lens.observe",
    "patch_features": "lens.intervene",
    "predict": "evaluation.predict",
    "register": "models.families",
    "rewrite": "rewrites.registry",
    "rollout": "lens.rollout",
    "save": "checkpoint.contract",
    "train": "training.run",
    "visualize_attention_weights": "lens.draw",
    "visualize_patches": "lens.draw",
}

__all__ = [
    "Checkpoint",
    "ModelConfig",
    "Recipe",
    "Run",
    "SimpleViT",
    "TransformerBlock",
    "UniversalViT",
    "VisionTransformer",
    "ablate",
    "convert_state_dict",
    "create_model",
    "create_vit_model",
    "evaluate",
    "export_state_dict",
    "features",
    "list_models",
    "load",
    "observe",
    "patch_features",
    "predict",
    "register",
    "rewrite",
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
