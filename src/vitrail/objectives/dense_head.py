"""A ViT with trained weights as the encoder of a model for pixels, with a fresh head."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..checkpoint.document import Stored, architecture_name
from ..models.around_encoder import fields_around
from ..models.dense_vit import DenseViTConfig, dense_state
from ..tasks.task import Task
from .encoders import require_unchanged

_OWN = ("decoder", "fusion_dim")
"""Fields of the head, which the recipe may set."""


def with_dense_head(stored: Stored, task: Task, num_classes: int, changes: Mapping[str, Any]) -> Stored:
    """Weights of a model for pixels whose encoder is that of a classifier, or of a pre-training.

    Args:
        stored: the weights; those of a model for this task are returned as they are.
        task: segmentation or depth.
        num_classes: number of classes of the pixels; 0 for depth.
        changes: fields of the model's config that the recipe sets, of which the head's are used.

    Raises:
        VitrailError: no plain ViT, or one that was changed after it was built.
    """
    if stored.config.task.name in task.heads:
        return stored
    require_unchanged(stored, f"a head for {task.name}")
    vit = stored.config.fine_tuned() or stored.config
    weights = stored.state if vit is stored.config else stored.config.fine_tuned_state(stored.state)
    own = {name: changes[name] for name in _OWN if name in changes}
    config = DenseViTConfig(**fields_around(vit), num_classes=num_classes, **own)
    state = {name: tensor for name, tensor in config.build().state_dict().items() if name.startswith("head.")}
    note = f"a fresh head for {task.name} was put on the encoder of a model for {stored.config.task.name}"
    info = {
        **stored.info,
        "architecture": architecture_name(config),
        "adapted": [*stored.info.get("adapted", []), note],
    }
    found = {**state, **dense_state(config.encoder, weights)}
    return replace(stored, config=config, state=found, class_names=(), info=info)
