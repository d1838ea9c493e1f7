"""Data of the explorer for one model and one image, as plain values."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ...errors import VitrailError
from ...nn import TokensRead
from ...pages.image import displayable
from ...tasks.object_prediction import QueriedObject
from ..attribution.method import Attribution
from ..explanation import feature_colours, observed_encoder
from ..frames import Mosaic
from ..naming import attend_names
from ..observe import Attention, observe_attention
from ..outputs import run
from ..queries import queried_objects
from ..reading import head_reading, prefix_names
from ..watched import Prediction, Watched, predictions
from .rows import LayerRows, Unseen, layer_rows

MOST_WEIGHTS = 400_000_000
"""Largest number of attention weights of one image, which limits memory here and in the browser."""


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """One method's maps by class; the key None means any class, or the embedding. `problem` is the reason if there are
    none."""

    method: str
    maps: Mapping[int | None, Float[Tensor, "rows columns"]]
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Content of a page for one model and one image.

    Attributes:
        image: uint8 (3, H, W), resized and cropped as for the model; maps are drawn over it.
        predictions: the most probable first, or texts and their words; empty for a model without.
        prefix_names: names of the tokens before the patches.
        reads: the tokens that the head reads, on which the page opens.
        layers: name and content, in the order of the model.
        output: output of the model; an embedding is one vector for each image.
        features: first three principal components of the last patches as colours; None if they are not a grid.
        objects: what each query of a detector's decoder found, in the order of the queries.
        mosaic: how the frames of a clip are put together in the image; None for an image.
    """

    image: UInt8[Tensor, "3 H W"]
    predictions: tuple[Prediction, ...]
    prefix_names: tuple[str, ...]
    reads: TokensRead
    layers: tuple[tuple[str, LayerRows | Unseen], ...]
    output: Literal["classes", "texts", "embedding", "other"] = "classes"
    features: UInt8[Tensor, "3 rows columns"] | None = None
    objects: tuple[QueriedObject, ...] = ()
    mosaic: Mosaic | None = None


def look(watched: Watched, image: Tensor, top_k: int = 5) -> View:
    """Run a model on one image (C, H, W), or one clip (T, C, H, W), and keep the attention weights of every layer.

    Raises:
        VitrailError: no attention in the model, none that can be drawn, or more weights than a page can hold.
    """
    pixels = watched.pixels(image)
    with ExitStack() as stack:
        stack.enter_context(_limited(watched.model))
        seen = stack.enter_context(observe_attention(watched.model))
        outputs = stack.enter_context(observed_encoder(watched.model))
        stack.enter_context(torch.inference_mode())
        output = run(watched.model, pixels)
    names, mosaic = attend_names(watched.model), _mosaic(seen, watched.preprocess.frames)
    layers = tuple((_short(names[layer]), layer_rows(seen, layer, mosaic)) for layer in seen)
    drawable = [rows for _, rows in layers if isinstance(rows, LayerRows)]
    if not drawable:
        reasons = sorted({rows.reason for _, rows in layers if isinstance(rows, Unseen)})
        raise VitrailError(f"no attention of {watched.name} can be drawn over the image: {'; '.join(reasons)}")
    fitted = watched.preprocess.fit(image)
    prefix = max(side.prefix for rows in drawable for side in (rows.queries, rows.keys) if not side.free)
    return View(
        image=displayable(fitted) if mosaic is None else mosaic.picture(fitted),
        predictions=tuple(predictions(watched, output, top_k)),
        prefix_names=prefix_names(watched.model, prefix),
        reads=head_reading(watched.model).within(prefix),
        layers=layers,
        output=_kind(watched, output),
        features=feature_colours(outputs.get("encoder")),
        objects=tuple(queried_objects(watched, output)),
        mosaic=mosaic,
    )


def _mosaic(seen: Attention, frames: int | None) -> Mosaic | None:
    """The mosaic of the times that the layers of a video model have; None if they have none."""
    grids = []
    for layer in seen:
        with suppress(VitrailError):  # its inputs are no Tokens
            grids.append(seen.layout(layer).key_grid)
    times = next((grid[0] for grid in grids if len(grid) == 3), None)
    return None if times is None else Mosaic.of(times, frames)


def _kind(watched: Watched, output: object) -> Literal["classes", "texts", "embedding", "other"]:
    if watched.phrases:
        return "texts"
    if not isinstance(output, Tensor) or output.ndim != 2:
        return "other"
    return "classes" if watched.classifies else "embedding"


def relevance(watched: Watched, image: Tensor, name: str, method: Attribution, classes: Sequence[int]) -> Relevance:
    """A method's map of each class, or one map if the method does not depend on the class or the model has none.

    For a model without classes the target is its embedding, see `Method`. The maps of a clip are put together as its
    frames are.
    """
    asked = list(classes) if method.by_class and classes else [None]
    pixels = watched.pixels(image)
    pixels = pixels.expand(len(asked), *pixels.shape[1:])
    targets = None if asked == [None] else torch.tensor(asked, device=pixels.device)
    try:
        maps = method(watched.model, pixels, targets).detach().float().cpu()
    except Exception as error:  # a failing method, perhaps of another package, must not prevent the page
        return Relevance(name, {}, str(error) or type(error).__name__)
    if maps.ndim == 4:
        maps = Mosaic.of(maps.shape[1]).joined(maps)
    return Relevance(name, dict(zip(asked, maps, strict=True)))


@contextmanager
def _limited(model: nn.Module) -> Iterator[None]:
    """Stop a forward pass before the stored weights fill the memory."""
    total = 0

    def count(attend: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal total
        total += args[0].shape[0] * args[0].shape[1] * args[0].shape[2] * args[1].shape[2]
        if total > MOST_WEIGHTS:
            raise VitrailError(
                f"the image has more than {MOST_WEIGHTS:,} attention weights, too many for a page: load the model "
                "with a smaller image_size (--image-size), or take some layers and rows, vitrail.observe_attention"
            )

    handles = [model.get_submodule(name).register_forward_pre_hook(count) for name in attend_names(model)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _short(name: str) -> str:
    """The part of a module's name that distinguishes the layers."""
    parts = name.removeprefix("encoder.").split(".")
    while len(parts) > 1 and parts[-1] in ("attend", "attention", "branch"):
        parts.pop()
    return ".".join(parts)
