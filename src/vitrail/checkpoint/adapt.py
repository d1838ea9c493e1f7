"""Changing what a checkpoint takes in and gives out, without losing what it learned."""

from dataclasses import replace
from typing import Any

from ..models.registry import override
from .document import Stored


def adapt(stored: Stored, overrides: dict[str, Any]) -> Stored:
    """The checkpoint with config fields replaced, its tensors made to fit."""
    config = override(stored.config, overrides, "the checkpoint")
    return replace(stored, config=config)
