"""Linear probes, the logit lens and shift equivariance of each block of a classifier."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.open import BadFile, SourceLike, open_source
from ..engines.precision import on_device
from ..errors import VitrailError
from ..evaluation.probe.linear import Kind, linear_probe
from ..lens.observe import observe_features
from ..lens.probe.layers import block_names, check_stream, layer_features, logit_lens
from ..lens.probe.order import shift_equivariance
from ..nn import Tokens
from ..progress import Track, silent
from .options import HeldOutOptions
from .parts import probe_parts
from .robustness_tests import standard_error
from .studied_model import StudiedModel, matched, studied_model

_SHIFTED = 32
"""Number of images in the shift test."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One block or stage.

    Attributes:
        name: name of the module.
        width: width D of its tokens.
        probe_class, probe_mean: test accuracy of a linear probe on the class token, and on the mean of the patches;
            None if there is no class token.
        lens, agrees: accuracy of the model's own head on this block's output, and fraction of images for which it
            predicts the same as the model; None if the logit lens does not apply.
        follows: correlation of the block's map for an image shifted by one patch with the shifted map of the image;
            None if the model has no maps.
    """

    name: str
    width: int
    probe_class: float | None
    probe_mean: float
    lens: float | None
    agrees: float | None
    follows: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerOptions(HeldOutOptions):
    """Options of the study.

    Attributes:
        kind: kind of the probe, see `linear_probe`.
    """

    limit: int | None = 500
    kind: Kind = "ridge"


@dataclass(frozen=True, slots=True)
class LayerStudy:
    """Results of the layers, first to last; phrases that describe the images and omissions; files left out."""

    layers: tuple[Layer, ...]
    notes: tuple[str, ...]
    bad: tuple[BadFile, ...] = ()


def study_layers(
    checkpoint: Checkpoint,
    source: SourceLike,
    options: LayerOptions | None = None,
    *,
    progress: Track = silent,
) -> LayerStudy:
    """Fit probes on the train part of a source, and score them and the logit lens on another part.

    A source without its own train part is split as in the run; if there is no run either, or it was trained on other
    images, those of the source are halved by seed, as they are with the split "train" or "all": none is used for both.

    Args:
        checkpoint: a classifier.
        source: labelled images, what `open_source` takes.
        options: `split` is the part to score on.
        progress: reports the progress of the study.

    Raises:
        VitrailError: the model has no blocks, or there are too few images; see `matched`.
    """
    options = options or LayerOptions()
    opened = matched(open_source(source, strict=options.strict), checkpoint)
    block_names(checkpoint.model)
    parts = probe_parts(opened, checkpoint.path, checkpoint.preprocess.channels, options, progress=progress)
    learned, judged = (
        studied_model(checkpoint, samples, options, progress=progress) for samples in (parts.train, parts.test)
    )
    lens, reason = _lens(judged)
    layers = _layers(learned, judged, options.kind, lens, progress)
    return LayerStudy(layers, (parts.note, _own(judged), *reason), parts.bad)


def _layers(
    learned: StudiedModel, judged: StudiedModel, kind: Kind, lens: Tensor | None, progress: Track
) -> tuple[Layer, ...]:
    """The layers, first to last.

    Args:
        learned, judged: the model with the images that probes are fitted on, and with those that they are scored on.
        kind: kind of the probe.
        lens: (L, n, K) logits of the logit lens on the latter, or None.
        progress: reports the blocks.
    """
    seen = _features(learned, "train part", progress)
    unseen = _features(judged, "test part", progress)
    follows = _follows(judged)
    predicted = None if lens is None else [logits.argmax(dim=1) for logits in lens]
    layers = []
    for place, (name, parts) in enumerate(progress(unseen.items(), len(unseen), "probes")):
        scores = {
            key: linear_probe(seen[name][key], learned.labels, found, judged.labels, kind).test
            for key, found in parts.items()
        }
        layers.append(
            Layer(
                name=name,
                width=parts["mean"].shape[1],
                probe_class=scores.get("class"),
                probe_mean=scores["mean"],
                lens=None if predicted is None else _share(predicted[place] == judged.labels),
                agrees=None if predicted is None else _share(predicted[place] == predicted[-1]),
                follows=follows.get(name),
            )
        )
    return tuple(layers)


def _features(studied: StudiedModel, label: str, progress: Track) -> dict[str, dict[str, Tensor]]:
    """{block: {"class" or "mean": (n, D)}}, float32 on the CPU."""
    found: dict[str, dict[str, list[Tensor]]] = {}
    batches = -(-len(studied.images) // studied.batch_size)
    for pixels, count in progress(studied.pixel_batches(), batches, label):
        with studied.precision():
            pooled = layer_features(studied.model, pixels)
        for name, parts in pooled.items():
            for key, values in parts.items():
                found.setdefault(name, {}).setdefault(key, []).append(values[:count].float().cpu())
    return {name: {key: torch.cat(values) for key, values in parts.items()} for name, parts in found.items()}


def _lens(studied: StudiedModel) -> tuple[Tensor | None, tuple[str, ...]]:
    """(L, n, K) logits, or the reason why there are none."""
    try:
        check_stream(studied.model)
        logits = []
        for pixels, count in studied.pixel_batches():
            with studied.precision():
                logits.append(logit_lens(studied.model, pixels)[:, :count].float().cpu())
    except VitrailError as error:
        return None, (f"no logit lens: {error}",)
    return torch.cat(logits, dim=1), ()


def _follows(studied: StudiedModel) -> dict[str, float]:
    """Correlation after a shift by one patch, for every block; empty if the embedding has no map."""
    few = torch.stack(studied.fitted[:_SHIFTED])
    pixels = on_device(studied.predictor.preprocess.normalise(few), studied.device)
    with observe_features(studied.model, "embed") as seen, studied.precision():
        studied.model(pixels)
    tokens = seen["embed"]
    if not isinstance(tokens, Tokens) or len(tokens.grid) != 2 or tokens.lengths or tokens.grid[1] < 3:
        return {}
    step = pixels.shape[3] // tokens.grid[1]
    with studied.precision():
        return {
            name: shift_equivariance(studied.model, pixels, name, [step])[0].moved
            for name in block_names(studied.model)
        }


def _own(studied: StudiedModel) -> str:
    correct = studied.correct(studied.clean_logits())
    error = f", standard error {100 * standard_error(correct):.1f}" if len(correct) > 1 else ""
    majority = f"predicting the most common class: {100 * studied.majority_accuracy:.1f} %"
    return f"the model itself: {100 * correct.mean():.1f} %{error}; {majority}"


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()
