"""Which explanations of a checkpoint can be believed, on labelled pictures."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.decode import BadImage, decode
from ..data.folders import is_image
from ..data.preprocess import Preprocess
from ..data.seeds import derive, permutation
from ..data.sources import Sample, open_source, read_image
from ..errors import VitrailError
from ..lens.attribution.methods import Attribution
from ..lens.faithfulness.evaluate import Pictures, Score, evaluate_methods
from ..progress import Track, silent
from .evaluate import match_classes
from .held_out import Part, held_out

BATCH = 16


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """What the table of methods says.

    Attributes:
        scores: of every method and baseline.
        top1: how often the model is right about these pictures.
        note: which pictures they are.
    """

    scores: tuple[Score, ...]
    top1: float
    note: str


def evaluate_explanations(
    checkpoint: Checkpoint,
    source: str,
    methods: Mapping[str, Attribution],
    *,
    masks: Path | None = None,
    split: Part = "auto",
    limit: int | None = 200,
    device: str | torch.device = "cpu",
    seed: int = 0,
    progress: Track = silent,
) -> Faithfulness:
    """Score attribution methods on the pictures of a source; each is asked about the picture's own label.

    Args:
        checkpoint: a classifier with class names.
        source: labelled pictures, what `open_source` takes.
        methods: by name, see `lens.faithfulness`.
        masks: a folder with the object of each picture, under the picture's own name in the source, white on black.
        split: which part of the source, see `held_out`.
        limit: at most so many pictures, drawn by seed.

    Raises:
        VitrailError: labels that the model does not know, no picture, a picture without mask.
    """
    task: Literal["single", "multi"] = "multi" if checkpoint.info.get("task") == "multi" else "single"
    opened = match_classes(open_source(source), checkpoint.class_names, task)
    chosen = held_out(opened, checkpoint.path, split)
    labelled = [sample for sample in chosen.samples if sample.labels]
    order = permutation(len(labelled), derive(seed, "pictures to explain"))[:limit]
    samples = [labelled[place] for place in sorted(order)]
    model = checkpoint.model.to(device).eval()
    batches = list(_batches(samples, checkpoint.preprocess, masks, device, progress))
    right = sum((_predicted(model, batch) == batch.classes).sum().item() for batch in batches)
    scores = evaluate_methods(model, batches, methods, seed=seed, progress=progress)
    note = f"{len(samples)} of {len(labelled)} pictures, {chosen.note}"
    return Faithfulness(tuple(scores), right / max(1, len(samples)), note)


def _batches(
    samples: Sequence[Sample], preprocess: Preprocess, masks: Path | None, device: str | torch.device, progress: Track
) -> Iterator[Pictures]:
    found = _mask_files(masks) if masks else {}
    starts = range(0, len(samples), BATCH)
    for start in progress(starts, len(starts), "read"):
        some = samples[start : start + BATCH]
        pixels = torch.stack([preprocess(read_image(sample, preprocess.channels)) for sample in some])
        classes = torch.tensor([sample.labels[0] for sample in some])
        objects = torch.stack([_mask(sample, found, preprocess, masks) for sample in some]) if masks else None
        yield Pictures(pixels.to(device), classes.to(device), None if objects is None else objects.to(device))


def _mask_files(folder: Path) -> dict[str, Path]:
    """{name without suffix, relative to the folder: file}."""
    if not folder.is_dir():
        raise VitrailError(f"{folder} is no folder: --masks takes one with a mask for each picture, of the same name")
    files = (path for path in sorted(folder.rglob("*")) if is_image(path.name))
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


def _mask(
    sample: Sample, found: Mapping[str, Path], preprocess: Preprocess, folder: Path | None
) -> Bool[Tensor, "H W"]:
    """Where the object is in the pixels: more than half white."""
    name = Path(sample.name).with_suffix("").as_posix()
    if name not in found:
        raise VitrailError(f"{folder} has no mask for {sample.name}: it would be {name}.png there")
    try:
        mask = decode(found[name].read_bytes(), channels=1, name=str(found[name]))
    except BadImage as error:
        raise VitrailError(f"the mask of {sample.name} cannot be read: {error.reason}") from error
    return preprocess.fit(mask)[0] > 127


@torch.inference_mode()
def _predicted(model: torch.nn.Module, batch: Pictures) -> Tensor:
    return model(batch.pixels).argmax(dim=1)
