"""What a classifier knows after each block: linear probes, the logit lens, and how its maps follow the picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.open import Sample, Source, open_source
from ..data.seeds import derive
from ..errors import VitrailError
from ..evaluation.held_out import held_out, recorded_splits
from ..lens.probe.layers import block_names, check_stream, layer_features, logit_lens
from ..lens.probe.linear import Kind, linear_probe
from ..lens.probe.order import shift_equivariance
from ..nn import Tokens
from ..progress import Track, silent
from .subject import Subject, check_amounts, drawn, matched, subject
from .trials import standard_error

_SHIFTED = 32
"""Pictures that the shift test looks at."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One block or stage.

    Attributes:
        name: of the module.
        width: of its tokens.
        probe_class, probe_mean: test accuracy of a linear probe on the class token, and on the mean of the patches;
            None where there is no class token.
        lens, agrees: how often the model's own head, put here, is right, and how often it says what the model says;
            None where the logit lens makes no sense.
        follows: correlation of its map with itself shifted, when the picture is shifted by one patch.
    """

    name: str
    width: int
    probe_class: float | None
    probe_mean: float
    lens: float | None
    agrees: float | None
    follows: float | None


@dataclass(frozen=True, slots=True)
class LayerStudy:
    """The layers from the first to the last, and sentences on which pictures these are and what was left out."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...]


def study_layers(
    checkpoint: Checkpoint,
    source: str,
    *,
    limit: int | None = 500,
    kind: Kind = "ridge",
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Track = silent,
) -> LayerStudy:
    """Fit probes on the train part of a source, and score them and the logit lens on its held-out part.

    A source without a train part of its own has the run's; where neither is known its pictures are halved by seed.

    Args:
        limit: at most so many pictures of each part, drawn by seed; None for all.
        kind: of the probe, see `linear_probe`.

    Raises:
        VitrailError: a model without blocks, too few pictures; see `matched`.
    """
    check_amounts(limit, batch_size)
    opened = matched(open_source(source), checkpoint)
    block_names(checkpoint.model)
    train, test, note = _parts(checkpoint, opened, limit, seed, progress)
    learned, judged = (
        subject(checkpoint, samples, batch_size=batch_size, device=device, progress=progress)
        for samples in (train, test)
    )
    seen = _features(learned, "train part", progress)
    unseen = _features(judged, "test part", progress)
    lens, why = _lens(judged)
    follows = _follows(judged)
    layers = []
    for place, (name, parts) in enumerate(progress(unseen.items(), len(unseen), "probes")):
        scores = {
            key: linear_probe(seen[name][key], learned.labels, found, judged.labels, kind).test
            for key, found in parts.items()
        }
        said = None if lens is None else lens[place].argmax(dim=1)
        layers.append(
            Layer(
                name=name,
                width=parts["mean"].shape[1],
                probe_class=scores.get("class"),
                probe_mean=scores["mean"],
                lens=None if said is None else _share(said == judged.labels),
                agrees=None if said is None or lens is None else _share(said == lens[-1].argmax(dim=1)),
                follows=follows.get(name),
            )
        )
    return LayerStudy(tuple(layers), (note, _own(judged), *why))


def table(study: LayerStudy) -> tuple[list[str], list[list[str]]]:
    """Headers and rows for `print_table`; a column that no layer has is left out."""
    headers = ["layer", "width", "probe: class", "probe: mean", "lens", "lens = answer", "follows shift"]
    rows = [
        [
            layer.name.removeprefix("encoder."),
            str(layer.width),
            *map(_percent, (layer.probe_class, layer.probe_mean, layer.lens, layer.agrees)),
            "" if layer.follows is None else f"{layer.follows:.3f}",
        ]
        for layer in study.layers
    ]
    kept = [column for column in range(len(headers)) if any(row[column] for row in rows)]
    return [headers[column] for column in kept], [[row[column] for column in kept] for row in rows]


def _parts(
    checkpoint: Checkpoint, opened: Source, limit: int | None, seed: int, progress: Track
) -> tuple[list[Sample], list[Sample], str]:
    """Pictures to learn from, pictures to be scored on, and which they are."""
    seed = derive(seed, "pictures to probe")
    own = {sample.split for sample in opened.samples}
    recorded = recorded_splits(checkpoint.path) if checkpoint.path else None
    if "train" in own or recorded:
        test, train = (held_out(opened, checkpoint.path, part, progress=progress) for part in ("auto", "train"))
        few, many = drawn(test.samples, limit, seed), drawn(train.samples, limit, seed)
        note = f"probes learn from {len(many)}, and are scored on {len(few)} of {test.note}"
    else:
        every = held_out(opened, checkpoint.path, "all", progress=progress).samples
        mixed = drawn(every, None if limit is None else 2 * limit, seed)
        many, few = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
        note = f"{len(mixed)} pictures of {opened.name}, halved: probes learn from one half"
    if len({sample.labels[0] for sample in many}) < 2 or not few:
        raise VitrailError(f"{note}: they need pictures of two classes to learn from, and one to be scored on")
    return many, few, note


def _batches(studied: Subject) -> Iterator[Tensor]:
    for start in range(0, len(studied.images), studied.batch_size):
        yield studied.pixels(studied.images[start : start + studied.batch_size])


def _features(studied: Subject, label: str, progress: Track) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, list[Tensor]]] = {}
    count = -(-len(studied.images) // studied.batch_size)
    for pixels in progress(_batches(studied), count, label):
        for name, parts in layer_features(studied.model, pixels).items():
            for key, values in parts.items():
                found.setdefault(name, {}).setdefault(key, []).append(values.float().cpu())
    return {name: {key: torch.cat(values) for key, values in parts.items()} for name, parts in found.items()}


def _lens(studied: Subject) -> tuple[Tensor | None, tuple[str, ...]]:
    """(L, n, K) scores, or the reason why there are none."""
    try:
        check_stream(studied.model)
        return torch.cat([logit_lens(studied.model, pixels).float().cpu() for pixels in _batches(studied)], dim=1), ()
    except VitrailError as error:
        return None, (f"no logit lens: {error}",)


def _follows(studied: Subject) -> dict[str, float]:
    """For every block, of a shift by one patch of the embedding; empty where the embedding has no map."""
    pixels = studied.pixels(studied.images[:_SHIFTED])
    with torch.inference_mode():
        tokens = studied.model.embed(pixels)
    if not isinstance(tokens, Tokens) or len(tokens.grid) != 2 or tokens.lengths or tokens.grid[1] < 3:
        return {}
    step = pixels.shape[3] // tokens.grid[1]
    names = block_names(studied.model)
    return {name: shift_equivariance(studied.model, pixels, name, [step])[0].moved for name in names}


def _own(studied: Subject) -> str:
    right = studied.right(studied.images)
    error = f", standard error {100 * standard_error(right):.1f}" if len(right) > 1 else ""
    return f"the model itself: {100 * right.mean():.1f} %{error}; the most common class: {100 * studied.by_habit:.1f} %"


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
