"""Reads config.json of transformers."""

from collections.abc import Mapping
from typing import Any

from ..errors import VitrailError
from ..task_spec import MULTI_LABEL, REGRESSION, TaskSpec
from .card import Card, side_or_pair
from .preprocessor import preprocess_fields

_TASKS: Mapping[str, TaskSpec] = {"multi_label_classification": MULTI_LABEL, "regression": REGRESSION}
_SINGLE = (None, "single_label_classification")


def transformers_card(config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Card:
    """Card of a transformers model: sizes and labels from config.json, preprocessing from preprocessor_config.json."""
    labels = {int(index): name for index, name in (config.get("id2label") or {}).items()}
    preprocess, notes = preprocess_fields(preprocessor)
    facts = {
        "image_size": side_or_pair(config.get("image_size", 224)),
        "patch_size": side_or_pair(config.get("patch_size", 16)),
        "num_heads": config.get("num_attention_heads", 12),
        "norm_eps": config.get("layer_norm_eps", 1e-12),
    }
    return Card(
        facts={**facts, **task_fact(config)},
        preprocess=preprocess,
        class_names=tuple(labels[index] for index in sorted(labels)),
        license=config.get("license") or "",
        notes=notes,
    )


def task_fact(config: Mapping[str, Any]) -> dict[str, TaskSpec]:
    """The config field `task` that `problem_type` gives; empty for one label for each image, the default."""
    problem = config.get("problem_type")
    if problem in _SINGLE:
        return {}
    if problem not in _TASKS:
        raise VitrailError(f"config.json has problem_type {problem!r}: supported are {', '.join(_TASKS)} and none")
    return {"task": _TASKS[problem]}
