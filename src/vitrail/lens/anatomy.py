"""Anatomy of a model: measures of every block on a batch of images, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import Tokens
from ..progress import Track, silent
from .measures import attention_distance, effective_receptive_field, feature_pca, position_similarity
from .naming import attends_of
from .observe import observe_attention, observe_features
from .outputs import hides_patches, run
from .probe.layers import block_names


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """Measures of a model, by name of attention or block, from first to last.

    Attributes:
        distances: mean attention distance of each head over the images, in pixels; see `attention_distance`.
        components: first three principal components of the tokens of selected blocks as colours, see `feature_pca`.
        fields: receptive field of the central token of selected blocks, see `effective_receptive_field`.
        positions: similarity of the learned positions, see `position_similarity`; None without learned positions.
        notes: reasons why some measures are missing.
    """

    distances: Mapping[str, Float[Tensor, " h"]]
    components: Mapping[str, Float[Tensor, "B 3 rows columns"]]
    fields: Mapping[str, Float[Tensor, "H W"]]
    positions: Float[Tensor, "H W H2 W2"] | None
    notes: tuple[str, ...]


def anatomy(
    model: nn.Module, pixels: Float[Tensor, "B C H W"], *, blocks: int = 6, progress: Track = silent
) -> Anatomy:
    """Measure a model in evaluation mode on a batch of images.

    Args:
        blocks: number of blocks shown as colours and fields, evenly spaced from the first to the last.

    Raises:
        VitrailError: the model has no blocks, or does not take images.
    """
    chosen = spread(block_names(model), blocks)
    distances, notes = _distances(model, pixels, progress)
    with observe_features(model, *chosen) as seen, torch.inference_mode():
        run(model, pixels)
    components = {name: feature_pca(_map(name, seen[name])).cpu() for name in chosen}
    fields = {
        name: effective_receptive_field(model, pixels, name).cpu()
        for name in progress(chosen, len(chosen), "receptive fields")
    }
    try:
        positions = position_similarity(model).cpu()
    except VitrailError as error:
        positions = None
        notes.append(str(error))
    return Anatomy(distances, components, fields, positions, tuple(notes))


def _distances(
    model: nn.Module, pixels: Float[Tensor, "B C H W"], progress: Track
) -> tuple[dict[str, Float[Tensor, " h"]], list[str]]:
    """Attention distance of each head, and the reasons for layers without one."""
    attends, distances, notes = list(enumerate(attends_of(model))), {}, []
    if hides_patches(model):  # its decoder runs only if patches are hidden
        attends = [(index, name) for index, name in attends if not name.startswith("head.")]
    if not attends:
        notes.append(f"{type(model).__name__} has no attention, so there are no attention distances")
    for index, name in progress(attends, len(attends), "attention distances"):
        with observe_attention(model, layers=index) as seen, torch.inference_mode():  # one layer's weights at a time
            run(model, pixels)
        try:
            layout = seen.layout(index)
            found = attention_distance(seen[index], layout, pixels.shape[-1] / layout.grid[-1])
        except VitrailError as error:
            notes.append(f"{name}: {error}")
        else:
            distances[name] = found.mean(dim=0).cpu()
    return distances, notes


def spread(names: Sequence[str], count: int) -> list[str]:
    """Select at most `count` names, evenly spaced, with the first and the last.

    Raises:
        VitrailError: `count` is less than 1.
    """
    if count < 1:
        raise VitrailError(f"{count} blocks are too few: ask for at least 1")
    if count == 1:
        return [names[-1]]
    last = len(names) - 1
    return [names[place] for place in sorted({round(step * last / (count - 1)) for step in range(count)})]


def _map(name: str, output: object) -> Float[Tensor, "B D h w"]:
    if not isinstance(output, Tokens) or output.lengths or len(output.grid) != 2:
        raise VitrailError(f"{name} returns no grid of patches: this model cannot be shown block by block")
    return output.map.float()
