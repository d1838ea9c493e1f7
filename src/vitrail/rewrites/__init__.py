"""Rewrites: registered functions model -> model that a checkpoint records."""

from .inference import for_inference

__all__ = ["for_inference"]
