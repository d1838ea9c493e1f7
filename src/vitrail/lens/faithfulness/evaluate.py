"""Faithfulness scores of attribution methods and baselines on images."""

import copy
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...data.seeds import derive
from ...errors import VitrailError
from ...progress import Track, silent
from ..attribution.method import MapFunction
from .baselines import BASELINES, object_maps
from .metrics import average_precision, overlap, pointing, rank_correlation, touching
from .perturbation import deletion, insertion

Kind = Literal["method", "baseline", "reference"]


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """A batch of images with their targets and objects.

    Attributes:
        pixels: (B, C, H, W), normalised.
        classes: (B,), target classes.
        masks: (B, H, W), true on the object; all false for an image with an unknown object, None if all are unknown.
    """

    pixels: Float[Tensor, "B C H W"]
    classes: Int[Tensor, " B"]
    masks: Bool[Tensor, "B H W"] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of a method, as means over all images.

    Attributes:
        method: name of the method.
        kind: method, baseline, or reference (maps made from the masks).
        values: value of each metric: "deletion" (lower is better) and "insertion"; over images with a known object
            "pointing", "touching", "overlap" and "precision"; "sanity", the rank correlation with the maps of a model
            whose weights were shuffled (near 0 is good: Adebayo et al., 2018, "Sanity checks for saliency maps").
        grid: rows and columns of the maps.
        seconds: wall-clock time for each image.
        reason: reason why the method does not apply to the model; then there are no values.
    """

    method: str
    kind: Kind
    values: Mapping[str, float]
    grid: tuple[int, int] = (14, 14)
    seconds: float = 0.0
    reason: str = ""


Maps = Callable[[nn.Module, ImageBatch], Float[Tensor, "B rows columns"]]


def evaluate_methods(
    model: nn.Module,
    batches: Iterable[ImageBatch],
    methods: Mapping[str, MapFunction],
    *,
    seed: int = 0,
    progress: Track = silent,
) -> list[Score]:
    """Return the scores of the methods, the baselines and, if objects are known, of the reference "object", in that
    order.

    The model runs in evaluation mode and is unchanged afterwards. A method that does not apply has a reason and no
    values.

    Raises:
        VitrailError: there are no images.
    """
    images = list(batches)
    if not images:
        raise VitrailError("there is no image to score the methods on: name a folder with some")
    shuffled = shuffle_weights(model, seed)

    def score(name: str, maps: Maps, given: Sequence[ImageBatch] = images) -> Score:
        return _score(model, shuffled, given, name, maps)

    scores = [score(name, _as_maps(method)) for name, method in progress(methods.items(), len(methods), "methods")]
    # Baselines use patches of the methods' size: deletion and insertion depend on it.
    grid = next((score.grid for score in scores if score.values), (14, 14))
    scores += [replace(score(name, _as_maps(make(grid))), kind="baseline") for name, make in BASELINES.items()]
    known = [with_object for batch in images if len((with_object := _where_known(batch)).pixels)]
    if known:
        truth = score("object", lambda model, batch: object_maps(_masks(batch), grid), known)
        scores.append(replace(truth, kind="reference"))
    return scores


def shuffle_weights(model: nn.Module, seed: int) -> nn.Module:
    """Copy a model with the values of each parameter shuffled, which keeps their distribution only."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(derive(seed, "shuffled weights"))
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other


def _as_maps(method: MapFunction) -> Maps:
    return lambda model, batch: method(model, batch.pixels, batch.classes).detach()


def _score(model: nn.Module, shuffled: nn.Module, images: Sequence[ImageBatch], name: str, maps_of: Maps) -> Score:
    found: dict[str, list[Tensor]] = {}
    grid, spent = (0, 0), 0.0
    try:
        for batch in images:
            start = time.perf_counter()
            maps = maps_of(model, batch).to(batch.pixels.device)
            spent += time.perf_counter() - start
            grid = (maps.shape[1], maps.shape[2])
            for metric, values in _measured(model, batch, maps).items():
                found.setdefault(metric, []).append(values.double().cpu())
            other = maps_of(shuffled, batch)
            found.setdefault("sanity", []).append(rank_correlation(maps.cpu(), other.cpu()).abs())
    except VitrailError as error:  # this method does not apply to the model; others may
        return Score(name, "method", {}, reason=str(error))
    count = sum(len(batch.pixels) for batch in images)
    whole = {metric: torch.cat(parts) for metric, parts in found.items()}
    means = {metric: each.mean().item() for metric, each in whole.items()}
    return Score(name, "method", means, grid, spent / count)


def _measured(model: nn.Module, batch: ImageBatch, maps: Tensor) -> dict[str, Tensor]:
    measured = {
        "deletion": deletion(model, batch.pixels, batch.classes, maps),
        "insertion": insertion(model, batch.pixels, batch.classes, maps),
    }
    known = _known(batch)
    if known.any():
        maps, masks = maps[known], _masks(batch)[known]
        measured["pointing"] = pointing(maps, masks)
        measured["touching"] = touching(maps, masks)
        measured["overlap"] = overlap(maps, masks)
        measured["precision"] = average_precision(maps, masks)
    return measured


def _where_known(batch: ImageBatch) -> ImageBatch:
    known = _known(batch)
    return ImageBatch(batch.pixels[known], batch.classes[known], _masks(batch)[known])


def _known(batch: ImageBatch) -> Bool[Tensor, " B"]:
    return _masks(batch).flatten(1).any(dim=1)


def _masks(batch: ImageBatch) -> Bool[Tensor, "B H W"]:
    return torch.zeros_like(batch.pixels[:, 0], dtype=torch.bool) if batch.masks is None else batch.masks
