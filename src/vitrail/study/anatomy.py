"""Anatomy of a checkpoint: measures of every layer on images of the user, as a page and as CSV."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.bad_files import require_readable
from ..data.samples import BadFile
from ..data.split_choice import SplitChoice
from ..engines.precision import on_device, pick_device, pick_precision, place_model, reduced_precision
from ..lens.anatomy import Anatomy, anatomy
from ..lens.anatomy_page import anatomy_page, distance_rows
from ..lens.images import ImageLike, named_images, readable
from ..lens.outputs import image_model
from ..pages.files import is_folder
from ..pages.image import displayable
from ..progress import Track, silent
from ..tables import write_csv, write_text
from .only_images import require_images


@dataclass(frozen=True, slots=True, eq=False)
class AnatomyStudy:
    """Results of the study.

    Attributes:
        measures: measures of every layer.
        images: names, and images as the model sees them, in the order of the measures.
        left_out: sentences on images that could not be read.
    """

    measures: Anatomy
    images: tuple[tuple[str, UInt8[Tensor, "3 H W"]], ...]
    left_out: tuple[str, ...]


def study_anatomy(
    checkpoint: Checkpoint,
    images: Iterable[ImageLike] | ImageLike,
    *,
    blocks: int = 6,
    split: SplitChoice = "all",
    limit: int | None = 8,
    strict: bool = True,
    device: str = "auto",
    precision: str = "auto",
    progress: Track = silent,
) -> AnatomyStudy:
    """Measure every layer of a model on images.

    Args:
        checkpoint: a model of images.
        images: images without labels, see `named_images`.
        blocks: number of blocks to draw, see `anatomy`.
        split, limit, strict: see `named_images`.
        device, precision: see `make_predictor`.
        progress: reports the layers.

    Raises:
        VitrailError: no image could be read; see `anatomy`.
    """
    require_images(checkpoint.model.config, "studies of the anatomy")
    preprocess, refused, unreadable = checkpoint.preprocess, list[str](), list[tuple[str, str]]()
    named, _ = named_images(
        images,
        preprocess.channels,
        limit,
        then=preprocess.fit,
        split=split,
        run=checkpoint.path,
        strict=strict,
        least=preprocess.enough,
    )
    found = readable(named, refused.append, unreadable)
    require_readable(len(found), [BadFile(name, reason) for name, reason in unreadable])
    place = pick_device(device)
    model = place_model(image_model(checkpoint.model).eval(), place)
    pixels = on_device(torch.stack([preprocess.normalise(image) for _, image in found]), place)
    with reduced_precision(place, pick_precision(precision, place)):
        measures = anatomy(model, pixels, blocks=blocks, progress=progress)
    shown = tuple((name, displayable(image)) for name, image in found)
    return AnatomyStudy(measures, shown, tuple(refused))


def write_anatomy(study: AnatomyStudy, model: str, out: Path) -> Path:
    """Write the page, and return its path; into a folder also a CSV file of the attention distances.

    Args:
        study: the study.
        model: name of the checkpoint.
        out: page or folder, which is made if needed.
    """
    page = out / "anatomy.html" if is_folder(out) else out
    page.parent.mkdir(parents=True, exist_ok=True)
    title = f"The anatomy of {Path(model).name}"
    write_text(page, anatomy_page(title, study.measures, study.images, study.left_out))
    if is_folder(out):
        write_csv(out / "anatomy.csv", distance_rows(study.measures))
    return page
