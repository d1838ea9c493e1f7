"""Which attribution methods say what a prediction comes from, on pictures of the user's choice, beside baselines."""

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ...data.seeds import derive
from ...errors import VitrailError
from ...progress import Track, silent
from ..attribution.methods import Attribution
from .baselines import BASELINES
from .metrics import average_precision, overlap, pointing, rank_correlation
from .perturbation import deletion, insertion


@dataclass(frozen=True, slots=True)
class Pictures:
    """A batch to judge by.

    Attributes:
        pixels: (B, C, H, W), normalised.
        classes: (B,), which class of each is asked about.
        masks: (B, H, W), true on the object; None where it is not known.
    """

    pixels: Float[Tensor, "B C H W"]
    classes: Int[Tensor, " B"]
    masks: Bool[Tensor, "B H W"] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """What a method reached, each the mean over all pictures.

    Attributes:
        method: its name.
        baseline: whether it is one to beat.
        values: of each metric: "deletion" (less is better) and "insertion"; "pointing", "overlap" and
            "precision" where masks are known; "sanity", the rank correlation with the maps of a model whose weights
            were shuffled (near 0 is good: Adebayo et al., 2018, "Sanity checks for saliency maps").
        grid: rows and columns of its maps.
        seconds: for a picture, by the clock.
        reason: why the method does not apply to the model; no values then.
    """

    method: str
    baseline: bool
    values: Mapping[str, float]
    grid: tuple[int, int] = (14, 14)
    seconds: float = 0.0
    reason: str = ""


def evaluate_methods(
    model: nn.Module,
    batches: Iterable[Pictures],
    methods: Mapping[str, Attribution],
    *,
    seed: int = 0,
    progress: Track = silent,
) -> list[Score]:
    """The score of each method and each baseline, in that order. The model is in evaluation mode, and stays as it is.

    Raises:
        VitrailError: there is no picture.
    """
    pictures = list(batches)
    if not pictures:
        raise VitrailError("there is no picture to judge the methods by: name a folder with some")
    shuffled = shuffle_weights(model, seed)
    each = progress(methods.items(), len(methods), "methods")
    scores = [_score(model, shuffled, pictures, name, method) for name, method in each]
    # Patches as large as those of the methods, or what a baseline hides could not be compared with what they hide.
    grid = next((score.grid for score in scores if score.values), (14, 14))
    others = [_score(model, shuffled, pictures, name, make(grid)) for name, make in BASELINES.items()]
    return [*scores, *(replace(score, baseline=True) for score in others)]


def shuffle_weights(model: nn.Module, seed: int) -> nn.Module:
    """A copy whose every parameter has its numbers in another order: the same sizes, nothing that was learned."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(derive(seed, "shuffled weights"))
    with torch.no_grad():
        for parameter in other.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return other


def _score(
    model: nn.Module, shuffled: nn.Module, pictures: Sequence[Pictures], name: str, method: Attribution
) -> Score:
    found: dict[str, list[Tensor]] = {}
    grid, spent = (0, 0), 0.0
    try:
        for batch in pictures:
            start = time.perf_counter()
            maps = method(model, batch.pixels, batch.classes).detach().to(batch.pixels.device)
            spent += time.perf_counter() - start
            grid = (maps.shape[1], maps.shape[2])
            for metric, values in _measured(model, batch, maps).items():
                found.setdefault(metric, []).append(values.double().cpu())
            other = method(shuffled, batch.pixels, batch.classes).detach()
            found.setdefault("sanity", []).append(rank_correlation(maps.cpu(), other.cpu()).abs())
    except VitrailError as error:  # it does not apply to this model: the others may
        return Score(name, False, {}, reason=str(error))
    count = sum(len(batch.pixels) for batch in pictures)
    means = {key: torch.cat(values).mean().item() for key, values in found.items()}
    return Score(name, False, means, grid, spent / count)


def _measured(model: nn.Module, batch: Pictures, maps: Tensor) -> dict[str, Tensor]:
    measured = {
        "deletion": deletion(model, batch.pixels, batch.classes, maps),
        "insertion": insertion(model, batch.pixels, batch.classes, maps),
    }
    if batch.masks is not None:
        measured["pointing"] = pointing(maps, batch.masks).double()
        measured["overlap"] = overlap(maps, batch.masks)
        measured["precision"] = average_precision(maps, batch.masks)
    return measured
