"""Reads the configuration files of timm, transformers and open_clip."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import VitrailError
from ..models.fields import ModelConfig
from .card import Card, read_json
from .convert import CONFIGS, Reader, added_configs
from .convert.expect import expect
from .open_clip_card import OPEN_CLIP, open_clip_card
from .timm_card import timm_card
from .transformers_card import task_fact, transformers_card

CARDS = ("config.json", OPEN_CLIP)
"""Files that describe a model of another library."""


def read_card(folder: Path) -> Card:
    """Read the card of a timm, transformers or open_clip folder; preprocessor_config.json is used if present."""
    if (folder / OPEN_CLIP).is_file():
        return open_clip_card(read_json(folder / OPEN_CLIP))
    config = read_json(folder / "config.json")
    if "architecture" in config:
        return timm_card(config)
    kind, preprocessor = config.get("model_type"), folder / "preprocessor_config.json"
    images = read_json(preprocessor) if preprocessor.is_file() else {}
    if kind in ("vit", "deit"):
        expect(config, hidden_act="gelu", qkv_bias=True)
        return transformers_card(config, images)
    reader = CONFIGS.get(str(kind)) or added_configs().get(str(kind))
    if reader is not None:
        card = transformers_card(config, images)
        return replace(card, config=_config(reader, config, folder), facts=task_fact(config))
    raise VitrailError(
        f"{folder / 'config.json'} describes {kind or 'an unknown model'!r}: "
        f"supported are timm's models, and transformers' vit, deit, {', '.join(CONFIGS)}"
    )


def _config(reader: Reader, values: Mapping[str, Any], folder: Path) -> ModelConfig:
    try:
        return reader(values)
    except KeyError as error:
        raise VitrailError(f"{folder / 'config.json'} has no {error}: get the file again") from None
