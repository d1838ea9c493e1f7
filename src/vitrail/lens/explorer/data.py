"""A model and an image as plain values: the content of the explorer page."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ...data.preprocess import Preprocess
from ...errors import VitrailError
from ...nn import PrefixTokens, RegisterTokens
from ...pages.image import displayable
from ..attribution.methods import Attribution
from ..naming import attend_names
from ..observe import observe
from .rows import LayerRows, Unseen, layer_rows

MOST_WEIGHTS = 400_000_000
"""The most attention weights of one image: more would fill the memory of this machine and of the browser."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A model in evaluation mode with its preprocessing and class names.

    Attributes:
        name: shown as the title.
        class_names: in the order of the logits; empty if unknown.
        task: "single" gives softmax probabilities, "multi" one independent probability a class.
    """

    name: str
    model: nn.Module
    preprocess: Preprocess
    class_names: Sequence[str] = ()
    task: Literal["single", "multi"] = "single"

    def pixels(self, image: Tensor) -> Float[Tensor, "1 C H W"]:
        """One image (C, H, W) as the model takes it, on its device."""
        return self.preprocess(image)[None].to(next(self.model.parameters()).device)

    def class_name(self, index: int) -> str:
        return self.class_names[index] if self.class_names else f"class {index}"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A class with its probability."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class Relevance:
    """One method's maps by class, under None if one holds for all classes; `problem` is the reason if there is none."""

    method: str
    maps: Mapping[int | None, Float[Tensor, "rows columns"]]
    problem: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One model's predictions and attention for one image.

    Attributes:
        picture: uint8 (3, H, W), cropped to the model's input; all maps are drawn over it.
        predictions: the most probable first; empty for a model that does not classify.
        prefix_names: names of the prefix tokens, in their order.
        layers: name and weights of each attention layer, in the order of the model.
    """

    picture: UInt8[Tensor, "3 H W"]
    predictions: tuple[Prediction, ...]
    prefix_names: tuple[str, ...]
    layers: tuple[tuple[str, LayerRows | Unseen], ...]


def look(watched: Watched, image: Tensor, top_k: int = 5) -> View:
    """Run a model on one image (C, H, W) and keep the attention weights of every layer.

    Raises:
        VitrailError: no attention in the model, none that can be drawn, or more weights than a page can hold.
    """
    pixels = watched.pixels(image)
    with _limited(watched.model), observe(watched.model) as seen, torch.inference_mode():
        output = watched.model(pixels)
    names = attend_names(watched.model)
    layers = tuple((_short(names[layer]), layer_rows(seen, layer)) for layer in seen)
    drawable = [rows for _, rows in layers if isinstance(rows, LayerRows)]
    if not drawable:
        reasons = sorted({rows.reason for _, rows in layers if isinstance(rows, Unseen)})
        raise VitrailError(f"no layer of {watched.name} can be drawn over the image: {'; '.join(reasons)}")
    return View(
        picture=displayable(watched.preprocess.fit(image)),
        predictions=tuple(predictions(watched, output, top_k)),
        prefix_names=prefix_names(
            watched.model,
            max(side.prefix for rows in drawable for side in (rows.queries, rows.keys) if not side.free),
        ),
        layers=layers,
    )


def predictions(watched: Watched, output: object, top_k: int) -> list[Prediction]:
    """The `top_k` most probable classes; none if the output is not logits (1, K)."""
    values = probabilities(watched, output)
    if values is None:
        return []
    best = values.topk(min(top_k, len(values)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [Prediction(index, watched.class_name(index), value) for index, value in pairs]


def probabilities(watched: Watched, output: object) -> Float[Tensor, "K"] | None:
    """Probability of every class for the first image; None if the output is not logits (1, K)."""
    classes = len(watched.class_names) or getattr(getattr(watched.model, "config", None), "num_classes", None)
    if not isinstance(output, Tensor) or output.ndim != 2 or classes == 0:
        return None
    logits = output[0].float().cpu()
    return logits.softmax(-1) if watched.task == "single" else logits.sigmoid()


def relevance(watched: Watched, image: Tensor, name: str, method: Attribution, classes: Sequence[int]) -> Relevance:
    """A method's map for each of the classes; a single one if all are the same.

    A method with the attribute `by_class` set to False is run once, for all classes.
    """
    # A model without classes is asked for two, to find out whether the method needs any.
    asked = list(classes) or [0, 1]
    if not getattr(method, "by_class", True):
        asked = asked[:1]
    pixels = watched.pixels(image).expand(len(asked), -1, -1, -1)
    try:
        maps = method(watched.model, pixels, torch.tensor(asked, device=pixels.device)).detach().float().cpu()
    except (VitrailError, NotImplementedError, RuntimeError) as error:  # one method that fails is no reason for no page
        return Relevance(name, {}, str(error))
    if not getattr(method, "by_class", True) or (
        len(maps) > 1 and torch.allclose(maps, maps[:1], rtol=1e-4, atol=1e-7)
    ):
        return Relevance(name, {None: maps[0]})
    if not classes:
        return Relevance(name, {}, "it explains a class, and this model predicts none")
    return Relevance(name, dict(zip(asked, maps, strict=True)))


def prefix_names(model: nn.Module, count: int) -> tuple[str, ...]:
    """Names of the prefix tokens in their order: class, distillation, registers."""
    registers = sum(part.weight.shape[1] for part in model.modules() if isinstance(part, RegisterTokens))
    named = any(isinstance(part, PrefixTokens) for part in model.modules())
    first = ["class token", "distillation token"] if named else []
    leading = [*first, *(f"prefix token {number}" for number in range(len(first) + 1, count + 1))][: count - registers]
    return (*leading, *(f"register {number}" for number in range(1, registers + 1)))[:count]


@contextmanager
def _limited(model: nn.Module) -> Iterator[None]:
    """Stop a forward pass with an error before the attention weights that it keeps fill the memory."""
    total = 0

    def count(attend: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal total
        total += args[0].shape[0] * args[0].shape[1] * args[0].shape[2] * args[1].shape[2]
        if total > MOST_WEIGHTS:
            raise VitrailError(
                f"the image has more than {MOST_WEIGHTS:,} attention weights, too many for a page: load the model "
                "with a smaller image_size (--image-size), or look at some layers and rows with vitrail.observe"
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
