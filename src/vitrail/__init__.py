"""vitrail: train Vision Transformers on your own images, evaluate them and explain their predictions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

if TYPE_CHECKING:
    from .checkpoint.contract import Checkpoint, load, save
    from .checkpoint.convert import convert_state_dict
    from .checkpoint.export import export_state_dict
    from .checkpoint.transfer import convert
    from .compress.optimize import optimize
    from .data.open import open_source
    from .data.preprocess import Preprocess
    from .data.python_source import source_from_dataset, source_from_images
    from .data.samples import Source
    from .engines.export import export
    from .engines.predictor import Predictor, make_predictor
    from .errors import VitrailError
    from .evaluation.embed import embed
    from .evaluation.evaluate import evaluate
    from .evaluation.predict import predict
    from .lens.attribute import attribute
    from .lens.draw import visualize_attention_weights, visualize_patches
    from .lens.edit import edit_attention, edit_features
    from .lens.explain import explain
    from .lens.explore import explore
    from .lens.observe import observe_attention, observe_features
    from .lens.rollout import rollout
    from .lens.visualize import visualize_attention
    from .models.courses import SimpleViT, TransformerBlock, UniversalViT, VisionTransformer, create_vit_model
    from .models.families import register
    from .models.fields import ModelConfig
    from .models.registry import create_model, list_models
    from .nn.fewer_tokens import adaptive_token_pruning
    from .objectives.objective import ObjectiveConfig
    from .objectives.registry import register_objective
    from .objectives.teachers import register_teacher
    from .planning.cost import plan
    from .rewrites.registry import register_rewrite, rewrite
    from .task_spec import TaskSpec
    from .training.distill import distill_from_teacher, store_logits
    from .training.recipe import Recipe
    from .training.recipes import list_recipes
    from .training.run import Run, pretrain, resume, train

# Names are imported on first use, so that `import vitrail` and `vitrail --help` do not import torch.
_HOMES = {
    "Checkpoint": "checkpoint.contract",
    "ModelConfig": "models.fields",
    "ObjectiveConfig": "objectives.objective",
    "Predictor": "engines.predictor",
    "Preprocess": "data.preprocess",
    "Recipe": "training.recipe",
    "Run": "training.run",
    "SimpleViT": "models.courses",
    "Source": "data.samples",
    "TaskSpec": "task_spec",
    "TransformerBlock": "models.courses",
    "UniversalViT": "models.courses",
    "VisionTransformer": "models.courses",
    "VitrailError": "errors",
    "adaptive_token_pruning": "nn.fewer_tokens",
    "attribute": "lens.attribute",
    "convert": "checkpoint.transfer",
    "convert_state_dict": "checkpoint.convert",
    "create_model": "models.registry",
    "create_vit_model": "models.courses",
    "distill_from_teacher": "training.distill",
    "edit_attention": "lens.edit",
    "edit_features": "lens.edit",
    "embed": "evaluation.embed",
    "evaluate": "evaluation.evaluate",
    "explain": "lens.explain",
    "explore": "lens.explore",
    "export": "engines.export",
    "export_state_dict": "checkpoint.export",
    "list_models": "models.registry",
    "list_recipes": "training.recipes",
    "load": "checkpoint.contract",
    "make_predictor": "engines.predictor",
    "observe_attention": "lens.observe",
    "observe_features": "lens.observe",
    "open_source": "data.open",
    "optimize": "compress.optimize",
    "plan": "planning.cost",
    "predict": "evaluation.predict",
    "pretrain": "training.run",
    "register": "models.families",
    "register_objective": "objectives.registry",
    "register_rewrite": "rewrites.registry",
    "register_teacher": "objectives.teachers",
    "resume": "training.run",
    "rewrite": "rewrites.registry",
    "rollout": "lens.rollout",
    "save": "checkpoint.contract",
    "source_from_dataset": "data.python_source",
    "source_from_images": "data.python_source",
    "store_logits": "training.distill",
    "train": "training.run",
    "visualize_attention": "lens.visualize",
    "visualize_attention_weights": "lens.draw",
    "visualize_patches": "lens.draw",
}

__all__ = [
    "Checkpoint",
    "ModelConfig",
    "ObjectiveConfig",
    "Predictor",
    "Preprocess",
    "Recipe",
    "Run",
    "SimpleViT",
    "Source",
    "TaskSpec",
    "TransformerBlock",
    "UniversalViT",
    "VisionTransformer",
    "VitrailError",
    "adaptive_token_pruning",
    "attribute",
    "convert",
    "convert_state_dict",
    "create_model",
    "create_vit_model",
    "distill_from_teacher",
    "edit_attention",
    "edit_features",
    "embed",
    "evaluate",
    "explain",
    "explore",
    "export",
    "export_state_dict",
    "list_models",
    "list_recipes",
    "load",
    "make_predictor",
    "observe_attention",
    "observe_features",
    "open_source",
    "optimize",
    "plan",
    "predict",
    "pretrain",
    "register",
    "register_objective",
    "register_rewrite",
    "register_teacher",
    "resume",
    "rewrite",
    "rollout",
    "save",
    "source_from_dataset",
    "source_from_images",
    "store_logits",
    "train",
    "visualize_attention",
    "visualize_attention_weights",
    "visualize_patches",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vitrail' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
