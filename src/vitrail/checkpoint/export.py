"""Export of weights with the names of other libraries, the inverse of `convert_state_dict`."""

import math
from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor

from ..errors import VitrailError, nearest
from ..models.fields import BlockFields, EncoderFields, ModelConfig
from ..nn import BaseVisionModel
from ..rewrites.registry import merge_lora
from .convert import LAYOUTS, added_layouts, layouts_of
from .convert.rename import Layout, to_ours, to_theirs

_CLASSIFIERS = ("head.classify", "head.distill")


def export_state_dict(model: BaseVisionModel[ModelConfig], to: str, *, prefix: str = "") -> dict[str, Tensor]:
    """The weights of a model under the names of another library, for its `load_state_dict`.

    The model there must be built with the same sizes and the same epsilon of the norms (`config.norm_eps`).

    Args:
        model: a model of a family that the library has, without rewrites; low-rank updates are merged.
        to: "timm", "transformers", "torchvision" or "official" (the release of the paper), or the full name of a
        layout, such as "transformers ViT (files)", the names in its checkpoint files.
        prefix: prefix of all names but the classifier's, such as "vit." for transformers' `ViTForImageClassification`.

    Raises:
        VitrailError: unknown library, or one that has no names for the model's tensors.
    """
    layouts = sorted(_layouts(to), key=partial(_strangeness, model.config))
    model = merge_lora(model)
    if model.rewrites:
        raise VitrailError(f"this model was rewritten, and {to} has no such layers: export the model without rewrites")
    config, state = model.config, model.state_dict()
    if isinstance(config, BlockFields) and not config.equal_blocks and config.block_heads + config.block_head_dims:
        raise VitrailError(
            f"the heads of this model's blocks differ, which {to} cannot build: export a model with equal blocks"
        )
    heads = config.num_heads if isinstance(config, EncoderFields) else 1
    for layout in layouts:
        if all(layout.place_of_ours(name) for name in state):
            theirs = to_theirs(state, layout, heads)
            if _inverts(theirs, layout, state):
                return {_prefixed(name, layout, prefix): tensor.contiguous() for name, tensor in theirs.items()}
    raise VitrailError(
        f"{to} has no names for the tensors of {type(config).__name__}: export is possible to "
        f"{', '.join(_possible(state)) or 'none of the libraries'}"
    )


def _layouts(to: str) -> list[Layout]:
    """The layouts of a library; those of its modules before those of its files."""
    layouts = (*LAYOUTS, *added_layouts())
    found = [layout for layout in layouts if to in (layout.name, _library(layout))]
    if not found:
        raise VitrailError(
            f"there is no library {to!r} to export to: {nearest(to, sorted(set(map(_library, layouts))))}"
        )
    return sorted(found, key=lambda layout: "(files" in layout.name)


def _strangeness(config: ModelConfig, layout: Layout) -> float:
    """Key that sorts layouts: several may have names for the same tensors, of which a library uses one for a model.

    The layouts of the model's family are first, of these the ones with most of its fields.
    """
    if not any(layout is own for own in layouts_of(config)):
        return math.inf
    values = asdict(config)
    return sum(values.get(name, value) != value for name, value in layout.fields.items())


def _library(layout: Layout) -> str:
    return layout.name.split()[0].rstrip(",")


def _inverts(theirs: dict[str, Tensor], layout: Layout, state: dict[str, Tensor]) -> bool:
    again = to_ours(theirs, layout)
    whole = not again.incomplete and not again.unexpected and again.state.keys() == state.keys()
    return whole and all(torch.equal(again.state[name], tensor) for name, tensor in state.items())


def _prefixed(name: str, layout: Layout, prefix: str) -> str:
    place = layout.place_of_theirs(name)
    classifies = place is not None and place.ours[0].startswith(_CLASSIFIERS)
    return name if classifies else prefix + name


def _possible(state: dict[str, Tensor]) -> list[str]:
    covering = [layout for layout in (*LAYOUTS, *added_layouts()) if all(layout.place_of_ours(name) for name in state)]
    return sorted(set(map(_library, covering)))
