"""Faithfulness of attribution methods for a checkpoint, on labelled images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.fitted import read_fitted
from ..data.masks import mask_files, missing_mask, read_mask
from ..data.open import BadFile, Sample, SourceLike, open_source
from ..data.preprocess import Preprocess
from ..data.seeds import derive, permutation
from ..engines.precision import on_device, reduced_precision
from ..engines.predictor import make_predictor
from ..errors import VitrailError
from ..evaluation.evaluate import score_held_out
from ..evaluation.held_out import held_out
from ..lens.attribution.method import MapFunction
from ..lens.faithfulness.evaluate import ImageBatch, Score, evaluate_methods
from ..lens.watched import Watched, watch
from ..progress import Track, silent
from ..tasks.registry import resolve
from .options import HeldOutOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributionOptions(HeldOutOptions):
    """Options of the study.

    Attributes:
        masks: folder with a mask of the object of each image, see `data.masks`; images without a mask, or with a black
            one, count only for scores that need no mask.
    """

    batch_size: int = 16
    masks: Path | None = None


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """Scores of attribution methods.

    Attributes:
        scores: scores of every method and baseline.
        top1: accuracy of the model on these images.
        note: description of the images.
        bad: files that were left out.
    """

    scores: tuple[Score, ...]
    top1: float
    note: str
    bad: tuple[BadFile, ...] = ()


def evaluate_explanations(
    checkpoint: Checkpoint,
    source: SourceLike,
    methods: Mapping[str, MapFunction],
    options: AttributionOptions | None = None,
    *,
    progress: Track = silent,
) -> Faithfulness:
    """Score attribution methods on the images of a source; the target of each image is its own label.

    Args:
        checkpoint: a single-label classifier with class names.
        source: labelled images, what `open_source` takes.
        methods: name -> method, see `lens.faithfulness`.
        options: see `AttributionOptions`.
        progress: reports the progress of the study.

    Raises:
        VitrailError: the model has no classes or is multi-label, labels are unknown, or there is no image; masks
            cannot be used, or none shows an object.
    """
    options = options or AttributionOptions()
    watched = watch(checkpoint, device=options.device)
    _require_one_class(watched)
    # The model whose maps are scored, and not a faster one that `vitrail optimize` stored.
    predictor = make_predictor(
        checkpoint, batch_size=options.batch_size, engine="torch", device=options.device, precision=options.precision
    )
    engine = predictor.engine
    opened = resolve(checkpoint.task).match(open_source(source, strict=options.strict), checkpoint.class_names)
    channels = checkpoint.preprocess.channels
    chosen = held_out(opened, checkpoint.path, options.split, skip_bad=options.skip_bad, channels=channels)
    labelled = [sample for sample in chosen.samples if sample.labels]
    samples = _drawn(labelled, options.limit, options.seed)
    files = mask_files(options.masks, labelled) if options.masks else None
    if files is not None and not any(sample.name in files for sample in samples):
        raise missing_mask(samples[0])
    part = replace(chosen, samples=tuple(samples))
    evaluated = score_held_out(predictor, part, skip_bad=options.skip_bad)
    failed = {file.name for file in evaluated.bad}
    samples = [sample for sample in samples if sample.name not in failed]
    batches = list(_batches(samples, checkpoint.preprocess, files, engine.device, options.batch_size, progress))
    with reduced_precision(engine.device, engine.precision):
        scores = evaluate_methods(watched.model, batches, methods, seed=options.seed, progress=progress)
    note = f"{len(samples)} of {chosen.note}"
    if files is not None:
        note += f"; {_about_masks(batches, sum(sample.name not in files for sample in samples))}"
    return Faithfulness(tuple(scores), evaluated.quality, note, evaluated.bad)


def _require_one_class(watched: Watched) -> None:
    """Raise VitrailError unless the model predicts one class for each image."""
    task = watched.classification
    if task is None or task.labels == "many":
        kind = "no classes" if task is None else "several labels for each image"
        raise VitrailError(
            f"this checkpoint predicts {kind}, and attribution methods are scored by the one class of an image: "
            "`vitrail explain` and `vitrail explore` show its maps"
        )


def _drawn(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """At most `limit` samples, drawn by seed, in their order."""
    order = permutation(len(samples), derive(seed, "pictures to explain"))[:limit]
    return [samples[place] for place in sorted(order)]


def _batches(
    samples: Sequence[Sample],
    preprocess: Preprocess,
    files: Mapping[str, Path] | None,
    device: torch.device,
    batch_size: int,
    progress: Track,
) -> Iterator[ImageBatch]:
    starts = range(0, len(samples), batch_size)
    for start in progress(starts, len(starts), "read"):
        some = samples[start : start + batch_size]
        read = [read_fitted(sample, preprocess) for sample in some]
        pixels = on_device(torch.stack([preprocess.normalise(fitted.image) for fitted in read]), device)
        classes = torch.tensor([sample.labels[0] for sample in some]).to(device)
        masks = None
        if files is not None:
            pairs = zip(some, read, strict=True)
            masks = torch.stack([_mask(sample, fitted.size, files, preprocess) for sample, fitted in pairs]).to(device)
        yield ImageBatch(pixels, classes, masks)


def _mask(
    sample: Sample, size: tuple[int, int], files: Mapping[str, Path], preprocess: Preprocess
) -> Bool[Tensor, "H W"]:
    if sample.name not in files:
        return torch.zeros(preprocess.image_size, dtype=torch.bool)
    return read_mask(sample, files[sample.name], size, preprocess)


def _about_masks(batches: Sequence[ImageBatch], missing: int) -> str:
    """A sentence about the masks; raises a VitrailError if they show no object."""
    parts = torch.cat([batch.masks.float().mean(dim=(1, 2)) for batch in batches if batch.masks is not None])
    black, known = int((parts == 0).sum()) - missing, parts[parts > 0]
    if not len(known):
        raise VitrailError("no mask shows an object: they are black, or the object is outside the crop")
    phrases = [f"objects known in {len(known)}, of which they fill {known.mean():.1%}"]
    phrases += [f"{missing} without a mask"] if missing else []
    phrases += [f"{black} with a black one"] if black else []
    if known.mean() > 0.5:
        phrases.append("if that is too much, invert the masks: the object is white")
    return "; ".join(phrases)
