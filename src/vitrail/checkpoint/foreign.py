"""Reads weights of other libraries as a checkpoint."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.preprocess import Preprocess
from ..data.tokenize import FILE as TOKENIZER
from ..errors import VitrailError
from ..models.fields import ModelConfig, Size, pair
from ..models.registry import model_config, override
from ..models.text import TextFields
from ..plain import MOST_BYTES, Unreadable, read_bounded
from . import convert
from .build import blueprint
from .card import Card, sides
from .convert import official
from .convert.rename import Layout, Renamed
from .document import Stored
from .envelope import unwrap
from .foreign_config import read_card
from .infer import infer_config
from .origin import public_name
from .refuse import refused
from .weights import read_weights


def read_model_folder(folder: Path, architecture: str | None, facts: dict[str, Any]) -> Stored:
    """Read a folder with a configuration file and weights, as written by timm, transformers and open_clip."""
    state = read_weights(folder)
    with refused(f"the configuration in {folder}"):
        card = read_card(folder)
    stored = from_state(state, card, architecture, facts, origin=str(folder))
    return replace(stored, tokenizer=_tokenizer(folder)) if isinstance(stored.config, TextFields) else stored


def _tokenizer(folder: Path) -> str | None:
    """Content of the tokenizer beside weights; None without one that is text, as images need none."""
    with suppress(FileNotFoundError, Unreadable, UnicodeDecodeError):
        return read_bounded(folder / TOKENIZER, MOST_BYTES).decode()
    return None


def read_npz(path: Path) -> dict[str, Tensor]:
    """Read the arrays of an .npz file; files with pickles raise VitrailError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except (ValueError, TypeError, OSError, EOFError) as error:
        raise VitrailError(f"{path} cannot be read as arrays without pickles ({error}): use another file") from None


def from_state(
    state: Mapping[str, Any], card: Card, architecture: str | None, facts: dict[str, Any], *, origin: str
) -> Stored:
    """Build a checkpoint from another library's state dict and its configuration.

    Args:
        state: state dict with their names.
        card: contents of their configuration.
        architecture: variant to start from; None: from the card, or inferred from the shapes.
        facts: config fields that the user gives. `num_heads` completes what shapes leave open; `image_size` is taken as
            that of the weights if they have as many positions.
        origin: source of the weights, for `info`.
    """
    with refused(origin):
        return _from_state(state, card, architecture, facts, origin)


def _from_state(
    state: Mapping[str, Any], card: Card, architecture: str | None, facts: dict[str, Any], origin: str
) -> Stored:
    flat, choices = unwrap(state)
    plain, outside = convert.unwrapped(convert.tensors(flat))
    described = architecture or card.config or card.architecture
    layout = convert.recognise(plain, *_layouts_of(described))
    plain, left_out = official.without_pre_logits(plain)
    renamed = convert.to_ours(plain, layout)
    _check_ambiguous(plain, layout, described, facts)
    known = {**layout.fields, **card.facts, **_complete(facts, layout)}
    config, assumed = infer_config(renamed.state, described, known, wanted_size=facts.get("image_size"))
    config, resized = _of_wanted_size(config, renamed.state, facts.get("image_size"))
    convert.check(renamed, blueprint(config).state_dict(), layout)
    convert.check_computed(plain, layout, config)
    preprocess, unknown = _preprocess(layout, card, config)
    notes = [*([layout.doubt] if layout.doubt and described is None else []), *assumed, *resized]
    return Stored(
        config=config,
        state={name: tensor.contiguous() for name, tensor in renamed.state.items()},
        class_names=card.class_names if len(card.class_names) == config.num_outputs else (),
        preprocess=preprocess,
        info={
            "origin": public_name(origin),
            "layout": layout.name,
            "license": card.license,
            "adapted": [*card.notes, *choices, *outside, *left_out, *notes, *_unused(renamed), *unknown],
        },
    )


def _layouts_of(described: str | ModelConfig | None) -> tuple[Layout, ...]:
    """Layouts of the family that is named, which are first where names fit several."""
    if described is None:
        return ()
    return convert.layouts_of(model_config(described) if isinstance(described, str) else described)


def _complete(facts: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Fields of the user that describe the weights; changes of what the model takes and gives are made by `adapt`."""
    size = () if layout.computed else ("image_size",)
    adapted = {"num_classes", "in_channels", "task", *size} - {*layout.ambiguous}
    return {name: value for name, value in facts.items() if name not in adapted}


def _of_wanted_size(
    config: ModelConfig, state: Mapping[str, Tensor], wanted: Size | None
) -> tuple[ModelConfig, list[str]]:
    """The config with the image size that the user gives, if only that one fits the shapes, and a sentence about it.

    Relative positions, and the MLPs along the tokens of MLP-Mixer, are of one size too, which they do not show.
    """
    if wanted is None or wanted == config.image_size or _fits(config, state):
        return config, []
    other = override(config, {"image_size": wanted}, "the checkpoint")
    if not _fits(other, state):
        return config, []
    return other, [f"the weights were taken as those of images of {sides(pair(wanted))}"]


def _fits(config: ModelConfig, state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors that the model has too are of its shapes."""
    with suppress(VitrailError):  # a size that cannot be built
        expected = blueprint(config).state_dict()
        return all(state[name].shape == tensor.shape for name, tensor in expected.items() if name in state)
    return False


def _check_ambiguous(
    state: Mapping[str, Any], layout: Layout, described: str | ModelConfig | None, facts: Mapping[str, Any]
) -> None:
    """Raise VitrailError if weights of the same names and shapes compute differently in two sources."""
    if isinstance(described, ModelConfig) or layout.proof & state.keys():
        return
    for name, choices in layout.ambiguous.items():
        if name not in facts:
            raise VitrailError(
                f"weights of layout {layout.name} may need {choices}, which their names do not show: pass {name}, or "
                "load the folder with its configuration file"
            )


def _unused(renamed: Renamed) -> list[str]:
    return [f"left out, not used for classification: {', '.join(renamed.unused)}"] if renamed.unused else []


def _preprocess(layout: Layout, card: Card, config: ModelConfig) -> tuple[Preprocess, list[str]]:
    """The preprocessing, and a sentence if its mean and deviation are unknown."""
    known = {**layout.preprocess, **card.preprocess}
    preprocess = replace(Preprocess(), **{"image_size": pair(config.image_size), **known})
    if config.in_channels == preprocess.channels:
        return preprocess, []
    neutral = (0.5,) * config.in_channels
    given = len(preprocess.mean) == config.in_channels
    mean, std = (preprocess.mean, preprocess.std) if given else (neutral, neutral)
    preprocess = replace(preprocess, channels=config.in_channels, mean=mean, std=std)
    note = f"mean and deviation of the {config.in_channels} channels are unknown, and 0.5 was taken for each"
    return preprocess, [] if given else [note]
