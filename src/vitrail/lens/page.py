"""Explanations as one self-contained page: every layer and head over the picture, and the rollout."""

from collections.abc import Sequence
from html import escape

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from ..pages.html import asset, bars, data_uri, json_script, page, panes
from ..pages.image import colours, encode, encode_map
from .explanation import Explanation

_OVERLAY = (
    '<div class="controls overlay"><label for="colour">Colour over picture</label>'
    '<input id="colour" type="range" min="0" max="100" value="62"></div>'
)


def explanation_page(explanations: Sequence[Explanation], unreadable: Sequence[tuple[str, str]] = ()) -> str:
    """The document. `unreadable` are (name, reason) of pictures that could not be opened."""
    sections = [_section(explanation, number) for number, explanation in enumerate(explanations)]
    count = f"{len(explanations)} picture{'s' if len(explanations) != 1 else ''}"
    what = (
        "Each pane is one patch. Its colour says how much attention it gets: dark is none, bright is the "
        "most in that map. Move through the layers, choose a head."
    )
    lead = f'<p class="soft">{count}. {what}</p><noscript>Without scripts: the last layer only.</noscript>'
    if unreadable:
        items = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in unreadable)
        sections.append(f"<section><h2>Could not be read</h2><ul>{items}</ul></section>")
    return page(
        "What the model sees",
        lead + _OVERLAY,
        sections,
        styles=asset("explain.css", "vitrail.lens"),
        script=asset("explain.js", "vitrail.lens"),
    )


def _section(explanation: Explanation, number: int) -> str:
    stacks = [torch.cat([heads.mean(0, keepdim=True), heads]) for heads in explanation.maps]
    layers, columns = len(stacks), max(len(stack) for stack in stacks)
    return (
        f'<section class="picture" style="{_style(explanation, stacks)}">'
        f"<h2>{escape(explanation.name)}</h2>"
        f'<div class="columns">{_prediction(explanation)}{_chosen(explanation, number)}'
        f"{_flow(explanation)}</div>"
        '<div class="heads" role="group" aria-label="Heads of the layer">'
        f"{_heads(explanation, columns)}</div>"
        "<details><summary>All layers and heads at a glance</summary>"
        '<p class="note">A row is a layer, the first on top; a column is a head, their mean first.</p>'
        f'<div class="all panes" role="img" aria-label="{layers} layers, {columns - 1} heads"></div>'
        "</details>"
        f"{json_script([_peaks(stack) for stack in stacks])}</section>"
    )


def _style(explanation: Explanation, stacks: Sequence[Tensor]) -> str:
    height, width = explanation.picture.shape[1:]
    values = {
        "picture": f"url({data_uri(*encode(explanation.picture))})",
        "maps": f"url({data_uri(*encode_map(sprite(stacks)))})",
        "aspect": f"{width}/{height}",
        "layers": len(stacks),
        "columns": max(len(stack) for stack in stacks),
        "layer": len(stacks) - 1,
        "head": 0,
        "h": stacks[-1].shape[1],
        "w": stacks[-1].shape[2],
    }
    return ";".join(f"--{name}:{value}" for name, value in values.items())


def _prediction(explanation: Explanation) -> str:
    label = f"{explanation.name}, as the model sees it"
    return (
        f"<figure><h3>As the model sees it</h3>{panes(explanation.picture, None, label)}"
        f"<figcaption>{bars(explanation.predictions)}</figcaption></figure>"
    )


def _chosen(explanation: Explanation, number: int) -> str:
    layers = len(explanation.maps)
    who = "the class token gives" if explanation.prefix else "each patch receives"
    text = "Last layer, mean over heads"
    view = f'<div class="view" role="img" aria-label="{text}"></div><div class="lead"></div>'
    return (
        f'<figure class="chosen"><h3>Attention {who}</h3>{_glass(explanation, view)}'
        f"<figcaption>{text}</figcaption>"
        f'<div class="controls"><label class="layer" for="layer{number}">Layer {layers} of {layers}</label>'
        f'<input id="layer{number}" type="range" min="1" max="{layers}" value="{layers}"></div></figure>'
    )


def _flow(explanation: Explanation) -> str:
    if explanation.flow is None:
        return ""
    top, row, column = _peaks(explanation.flow[None])[0]
    text = f"All layers together: brightest pane {100 * top:.1f} %, row {row}, column {column}"
    map_uri = data_uri(*encode_map(colours(explanation.flow)))
    view = f'<img class="map" src="{map_uri}" alt="{text}"><div class="lead"></div>'
    return f"<figure><h3>Attention rollout</h3>{_glass(explanation, view)}<figcaption>{text}</figcaption></figure>"


def _heads(explanation: Explanation, columns: int) -> str:
    return "".join(
        f'<button type="button" aria-pressed="{"false" if head else "true"}">'
        + _glass(explanation, f'<div class="view" style="--head:{head}"></div>')
        + f"{f'head {head}' if head else 'mean'}</button>"
        for head in range(columns)
    )


def _glass(explanation: Explanation, view: str) -> str:
    small = " small" if min(explanation.picture.shape[1:]) <= 128 else ""
    return f'<div class="panes glass{small}">{view}</div>'


def sprite(stacks: Sequence[Tensor]) -> UInt8[Tensor, "3 H W"]:
    """Maps of every layer (rows) and head (columns) in one picture, each coloured by itself."""
    size = max((stack.shape[1], stack.shape[2]) for stack in stacks)
    columns = max(len(stack) for stack in stacks)
    canvas = torch.zeros(3, len(stacks) * size[0], columns * size[1], dtype=torch.uint8)
    for row, stack in enumerate(stacks):
        for column, values in enumerate(stack):
            cell = F.interpolate(colours(values)[None].float(), size, mode="nearest-exact")[0].to(torch.uint8)
            canvas[:, row * size[0] :, column * size[1] :][:, : size[0], : size[1]] = cell
    return canvas


def _peaks(stack: Tensor) -> list[tuple[float, int, int]]:
    """The highest value of each map with its row and column, counted from 1."""
    width = stack.shape[2]
    tops = stack.flatten(1).max(dim=1)
    return [
        (round(value, 5), place // width + 1, place % width + 1)
        for value, place in zip(tops.values.tolist(), tops.indices.tolist(), strict=True)
    ]
