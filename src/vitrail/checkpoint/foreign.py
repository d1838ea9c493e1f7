"""Reads weights of other libraries as a checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.preprocess import Preprocess
from ..errors import VitrailError
from ..models.fields import ModelConfig, pair
from . import convert
from .build import blueprint
from .convert import official
from .convert.rename import Layout, Renamed
from .document import Stored
from .foreign_config import Card, read_card
from .infer import infer_config
from .native import read_tensors
from .refuse import refused


def read_model_folder(folder: Path, architecture: str | None, facts: dict[str, Any]) -> Stored:
    """Read a folder with config.json and model.safetensors, as written by timm and transformers."""
    weights = folder / "model.safetensors"
    if not weights.is_file():
        others = ", ".join(sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES))
        hint = f"{others} is a pickle: `vitrail convert` reads it" if others else "check the folder"
        raise VitrailError(f"{folder} has no model.safetensors: {hint}")
    state, _ = read_tensors(weights)
    with refused(f"config.json of {folder}"):
        card = read_card(folder)
    return from_state(state, card, architecture, facts, origin=str(folder))


def read_npz(path: Path) -> dict[str, Tensor]:
    """Read the arrays of an .npz file; files with pickles raise VitrailError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise VitrailError(f"{path} cannot be read as arrays without pickles ({error}): use another file") from None


def from_state(
    state: dict[str, Tensor], card: Card, architecture: str | None, facts: dict[str, Any], *, origin: str
) -> Stored:
    """Build a checkpoint from another library's state dict and its configuration.

    Args:
        state: state dict with their names.
        card: contents of their configuration.
        architecture: variant to start from; None: from the card, or inferred from the shapes.
        facts: config fields given by the user, such as num_heads, which take precedence.
        origin: source of the weights, for `info`.
    """
    with refused(origin):
        return _from_state(state, card, architecture, facts, origin)


def _from_state(
    state: dict[str, Tensor], card: Card, architecture: str | None, facts: dict[str, Any], origin: str
) -> Stored:
    state = convert.tensors(state)
    layout = convert.recognise(state)
    notes: list[str] = [*card.notes]
    state, left_out = official.without_pre_logits(state)
    notes += left_out
    renamed = convert.to_ours(state, layout)
    known = {**layout.fields, **card.facts, **facts}
    config = infer_config(renamed.state, architecture or card.config or card.architecture, known)
    convert.check(renamed, blueprint(config).state_dict(), layout)
    notes += _unused(renamed)
    return Stored(
        config=config,
        state={name: tensor.contiguous() for name, tensor in renamed.state.items()},
        class_names=card.class_names if len(card.class_names) == config.num_outputs else (),
        preprocess=_preprocess(layout, card, config),
        info={"origin": origin, "layout": layout.name, "license": card.license, "adapted": notes},
    )


def _unused(renamed: Renamed) -> list[str]:
    return [f"left out, not used for classification: {', '.join(renamed.unused)}"] if renamed.unused else []


def _preprocess(layout: Layout, card: Card, config: ModelConfig) -> Preprocess:
    known = {**layout.preprocess, **card.preprocess}
    preprocess = replace(Preprocess(), **{"image_size": pair(config.image_size), **known})
    if config.in_channels == preprocess.channels:
        return preprocess
    neutral = (0.5,) * config.in_channels
    given = len(preprocess.mean) == config.in_channels
    mean, std = (preprocess.mean, preprocess.std) if given else (neutral, neutral)
    return replace(preprocess, channels=config.in_channels, mean=mean, std=std)


PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
