"""Draws the explanation of one image as a PNG: predictions, rollout, every layer and head."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.samples import printable
from ..pages.image import colours, enlarge, to_pil
from ..tables import complete_file
from .draw import overlay, visualize_patches, visualize_tokens
from .drawn_objects import boxed_objects, object_galleries
from .explanation import ClipMaps, Explanation
from .watched import Prediction

INK, SOFT, TRACK, PAPER, GLASS = "#23262d", "#6d6a63", "#e7e2d8", "#fbf9f5", "#2f4b8f"
COLUMNS = 6
# Inches. Everything is placed on one axes: a subplot for each of fifty maps would take seconds to lay out.
_SIDE, _GAP, _LINE, _MARGIN = 1.4, 0.12, 0.2, 0.3
_WIDTH = COLUMNS * (_SIDE + _GAP) - _GAP
_LARGE = (_WIDTH - 2 * _MARGIN) / 3


def write_sheet(explanation: Explanation, path: Path) -> None:
    """Write a PNG of the image, predictions, rollout, the attention of each layer, and each head of the last layer.

    If layers remove or merge tokens, the tokens that each leaves are drawn too; of a detector whose decoder has
    queries, the found objects and where the query of each looks. Texts have a gallery each, with their words.
    For a model without classes, three principal components of the patches replace the predictions.
    """
    from matplotlib.figure import Figure

    layers = [(f"layer {number}", heads.mean(0)) for number, heads in enumerate(explanation.maps, start=1)]
    heads = [(f"head {number}", head) for number, head in enumerate(explanation.maps[-1], start=1)]
    galleries: list[tuple[str, list[tuple[str, Tensor]]]] = [
        (f"{explanation.what}, layer by layer (mean over heads)", _maps(explanation.image, layers)),
        ("The last layer, head by head", _maps(explanation.image, heads)),
    ]
    galleries = _phrases(explanation) + galleries
    if explanation.clip is not None:
        galleries = _clip(explanation.clip) + galleries
    if explanation.objects:
        galleries = object_galleries(explanation.image, explanation.objects) + galleries
    if explanation.tokens:
        galleries.insert(0, ("Tokens that are left, merged ones in their mean colour", _tokens(explanation)))
    aspect = explanation.image.shape[1] / explanation.image.shape[2]
    height = _LINE + _LARGE * aspect + sum(_gallery_height(drawn) for _, drawn in galleries)
    figure = Figure(figsize=(_WIDTH + 2 * _MARGIN, height + 2 * _MARGIN), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    _headline(axes, explanation, aspect)
    top = _LINE + _LARGE * aspect
    for title, drawn in galleries:
        _gallery(axes, top, title, drawn)
        top += _gallery_height(drawn)
    axes.set(xlim=(-_MARGIN, _WIDTH + _MARGIN), ylim=(height + _MARGIN, -_MARGIN), aspect="equal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in a script that the font lacks
        with complete_file(path, mode="wb") as file:
            figure.savefig(file, format="png", dpi=130, facecolor=PAPER)


def _gallery_height(drawn: Sequence[tuple[str, Tensor]]) -> float:
    aspect = max(image.shape[1] / image.shape[2] for _, image in drawn)
    return 3 * _LINE + -(-len(drawn) // COLUMNS) * (_SIDE * aspect + 1.5 * _LINE)


def _headline(axes: Any, explanation: Explanation, aspect: float) -> None:
    grid = (explanation.maps[-1].shape[1], explanation.maps[-1].shape[2])
    second, third = _LARGE + _MARGIN, 2 * (_LARGE + _MARGIN)
    name = _shortened(explanation.name, 36)
    _image(axes, 0, _LINE, _LARGE, visualize_patches(explanation.image, grid), name, size=8)
    if explanation.predictions:
        _text(axes, second, _LINE - 0.06, "prediction", size=8)
        _bars(axes, second, _LARGE * aspect, explanation.predictions)
    elif explanation.features is not None:
        title = "features of the patches, three principal components"
        _image(axes, second, _LINE, _LARGE, _stretched(explanation.features, explanation.image), title, size=8)
    if explanation.objects:
        drawn = boxed_objects(explanation.image, explanation.objects)
        _image(axes, third, _LINE, _LARGE, drawn, "objects found", size=8)
    elif explanation.flow is not None:
        drawn = overlay(explanation.image, explanation.flow)
        _image(axes, third, _LINE, _LARGE, drawn, "attention rollout, all layers", size=8)


def _bars(axes: Any, left: float, height: float, predictions: Sequence[Prediction]) -> None:
    step = min(0.42, height / len(predictions))
    for place, prediction in enumerate(predictions):
        base = _LINE + (place + 1) * step
        weight = "bold" if place == 0 else "normal"
        number = (left + _LARGE, f"{prediction.probability:.1%}", "right")
        for x, text, align in ((left, _shortened(prediction.name, 26), "left"), number):
            _text(axes, x, base - 0.15, text, size=8, color=INK, weight=weight, align=align)
        for width, color in ((1, TRACK), (prediction.probability, GLASS)):
            axes.barh(base - 0.08, width * _LARGE, height=0.07, left=left, color=color)


def _maps(image: Tensor, maps: Sequence[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Label and picture of each map over the image."""
    return [(f"{label} · max {_percent(float(values.max()))}", overlay(image, values)) for label, values in maps]


def _clip(clip: ClipMaps) -> list[tuple[str, list[tuple[str, Tensor]]]]:
    """The last layer over every frame, and a matrix of the frames for each layer that attends to other frames."""
    count = len(clip.maps)
    strip = overlay(torch.cat(list(clip.frames), dim=2), torch.cat(list(clip.maps), dim=1))
    labels = [f"{name} · {_percent(float(one.sum()))}" for name, one in zip(clip.names, clip.maps, strict=True)]
    space = list(zip(labels, strip.chunk(count, dim=2), strict=True))
    times = [
        (f"layer {number} · max {_percent(float(matrix.max()))}", enlarge(colours(matrix)))
        for number, matrix in clip.times
    ]
    galleries = [("The last layer, frame by frame (mean over heads, one scale; share of each frame)", space)]
    if times:
        galleries.append(("In time: which frames (columns) the patches of each frame (rows) look at", times))
    return galleries


def _phrases(explanation: Explanation) -> list[tuple[str, list[tuple[str, Tensor]]]]:
    """A title for each text, and the maps of the text and its words below it."""
    galleries: list[tuple[str, list[tuple[str, Tensor]]]] = []
    for one in explanation.texts:
        phrase, drawn = one.phrase, overlay(explanation.image, one.map.clamp(min=0))
        if phrase.kind == "text":
            title = f"“{_shortened(phrase.name, 60)}”: patches for the text, and for each word, by {one.method}"
            galleries.append((title, [(f"the text · similarity {phrase.probability:.2f}", drawn)]))
        else:
            galleries[-1][1].append((f"{phrase.name} · {phrase.probability:+.2f}", drawn))
    return galleries


def _tokens(explanation: Explanation) -> list[tuple[str, Tensor]]:
    """Label and picture of the tokens that each reducing layer leaves."""
    return [
        (
            f"after layer {left.layer} · {left.count} of {left.cover.numel()}",
            visualize_tokens(explanation.image, left.cover),
        )
        for left in explanation.tokens
    ]


def _gallery(axes: Any, top: float, title: str, drawn: Sequence[tuple[str, Tensor]]) -> None:
    _text(axes, 0, top + 2 * _LINE, title, size=11, color=INK, family="serif")
    for place, (label, image) in enumerate(drawn):
        row, column = divmod(place, COLUMNS)
        row_height = _SIDE * image.shape[1] / image.shape[2] + 1.5 * _LINE
        left, upper = column * (_SIDE + _GAP), top + 3.3 * _LINE + row * row_height
        _image(axes, left, upper, _SIDE, image, label, size=6.5)


def _image(axes: Any, left: float, top: float, width: float, image: Tensor, title: str, size: float) -> None:
    height = width * image.shape[1] / image.shape[2]
    axes.imshow(to_pil(image), extent=(left, left + width, top + height, top))
    _text(axes, left, top - 0.05, title, size=size)


def _text(
    axes: Any,
    left: float,
    base: float,
    text: str,
    *,
    size: float,
    color: str = SOFT,
    weight: str = "normal",
    family: str = "sans-serif",
    align: str = "left",
) -> None:
    font = {"fontsize": size, "fontweight": weight, "fontfamily": family}
    axes.text(left, base, printable(text), color=color, ha=align, va="baseline", parse_math=False, **font)


def _stretched(features: Tensor, image: Tensor) -> Tensor:
    """Colours of patches, enlarged to the size of the image."""
    return F.interpolate(features[None].float(), image.shape[1:], mode="nearest-exact")[0].to(features.dtype)


def _percent(value: float) -> str:
    """Two digits below 1 %: the largest of a few hundred weights is often there."""
    return f"{value:.1%}" if value >= 0.00995 or not value else f"{float(f'{100 * value:.2g}'):g}%"


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[1 - most :]}"
