"""What an exported model needs besides its graph: names, preprocessing, task, licence, as strings."""

import json
from collections.abc import Mapping

import torch

from ..checkpoint.contract import Checkpoint
from ..json_text import json_text
from ..version import __version__
from .predictor import output_names
from .served import ServedModel

MARK = "vitrail_version"
"""Name of a fact that every export has, by which it is recognised."""


def export_facts(checkpoint: Checkpoint, served: ServedModel) -> dict[str, str]:
    """Name -> value of everything that a program needs to use an exported model; lists and mappings are JSON.

    Names that are not known, such as the licence of a model that was trained here, are left out.
    """
    preprocess = {**checkpoint.preprocess.to_dict(), "inside": "mean and std"}
    values = "uint8, 0 to 255" if served.dtype == torch.uint8 else "float32, on the scale where a uint8 image is 0 to 1"
    spec = checkpoint.task
    names = list(output_names(checkpoint)) if spec.name != "embedding" else []
    known = {
        MARK: __version__,
        "architecture": str(checkpoint.info.get("architecture", "custom")),
        "task": json_text({"name": spec.name, **dict(spec.options)}),
        "class_names": json_text(names),
        "preprocess": json_text(preprocess),
        "input": f"RGB images (batch, {', '.join(map(str, served.shape))}), resized as in preprocess; {values}"
        if served.shape[0] == 3
        else f"images (batch, {', '.join(map(str, served.shape))}), resized as in preprocess; {values}",
        "output": served.task.decoded_name,
        "license": str(checkpoint.info.get("license") or ""),
        "origin": json_text(checkpoint.info["origin"]) if checkpoint.info.get("origin") else "",
    }
    return {name: value for name, value in known.items() if value}


def facts_document(facts: Mapping[str, str]) -> str:
    """The facts as one JSON document, with lists and mappings as such."""
    return json_text({name: _plain(value) for name, value in facts.items()}, indent=2)


def _plain(value: str) -> object:
    return json.loads(value) if value[:1] in "[{" else value
