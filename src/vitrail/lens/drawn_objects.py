"""Pictures of found objects: their boxes, and boxes over the maps of the queries that found them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..pages.image import enlarge
from ..pages.overlay import with_boxes
from ..tasks.object_prediction import FoundObject
from .draw import overlay
from .queries import ObjectMaps

MOST, FOLLOWED = 12, 3
"""Objects of a picture, and how many of them are followed through all layers and heads."""


def object_galleries(
    image: UInt8[Tensor, "3 H W"], objects: Sequence[ObjectMaps]
) -> list[tuple[str, list[tuple[str, Tensor]]]]:
    """Titles, and the labels and pictures below each: the last layer for every object, then all layers for the best."""
    last = [(_name(one), _boxed(image, one.maps[-1].mean(0), one.found)) for one in objects[:MOST]]
    found = [("Where the query of each object looks: last layer of the decoder, mean over heads", last)]
    for one in objects[:FOLLOWED]:
        layers = [(f"decoder layer {number}", heads.mean(0)) for number, heads in enumerate(one.maps, start=1)]
        heads = [(f"last layer, head {number}", head) for number, head in enumerate(one.maps[-1], start=1)]
        drawn = [(label, _boxed(image, values, one.found)) for label, values in (*layers, *heads)]
        found.append((f"{_name(one)}, query {one.query + 1}: layer by layer, head by head", drawn))
    return found


def boxed_objects(image: UInt8[Tensor, "3 H W"], objects: Sequence[ObjectMaps]) -> UInt8[Tensor, "3 H2 W2"]:
    """The image with a box and the name of each object."""
    found = [one.found for one in objects[:MOST]]
    return with_boxes(enlarge(image), _boxes(found), torch.arange(len(found)), [one.name for one in found], len(found))


def _boxed(
    image: UInt8[Tensor, "3 H W"], values: Float[Tensor, "rows columns"], found: FoundObject
) -> UInt8[Tensor, "3 H2 W2"]:
    return with_boxes(overlay(image, values), _boxes([found]), torch.zeros(1, dtype=torch.long), [""], 1)


def _boxes(found: Sequence[FoundObject]) -> Float[Tensor, "n 4"]:
    return torch.tensor([(one.left, one.top, one.right, one.bottom) for one in found]).reshape(-1, 4)


def _name(one: ObjectMaps) -> str:
    below = "" if one.shown else " (below the threshold)"
    return f"{one.found.name} {one.found.score:.2f}{below}"
