"""Pictures of predictions: each image at its own size with the prediction drawn over it, in a folder."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..data.open import Sample, read_image
from ..errors import VitrailError
from ..pages.image import displayable
from ..tasks.outcomes import Names, Prediction
from ..tasks.placed import PlacedTask
from ..tasks.task import Task


def save_images(
    predictions: Iterable[Prediction], samples: Sequence[Sample], task: Task, names: Names, folder: Path
) -> Iterator[Prediction]:
    """Return the same predictions; taking each writes its pictures to a folder, for which images are read again.

    A picture has the name of its image and the suffix .png; a number is added where two images have the same name.

    Args:
        predictions: in the order of the samples; what follows them, and those with an error, have no picture.
        samples: the images.
        task: draws predictions, see `Task.drawn`.
        names: names of the model's outputs.
        folder: a new or empty folder.

    Raises:
        VitrailError: the folder has files already, the task's predictions cannot be drawn, or an image is gone.
    """
    if not isinstance(task, PlacedTask):
        raise VitrailError(
            f"predictions of {task.name} have no place in the image to draw: leave --save-images out, or use vitrail "
            "explain, which draws where the model looks"
        )
    require_empty(folder)
    return _saved(predictions, samples, task, names, folder)


def _saved(
    predictions: Iterable[Prediction], samples: Sequence[Sample], task: PlacedTask, names: Names, folder: Path
) -> Iterator[Prediction]:
    rest = iter(samples)
    taken: set[str] = set()
    for prediction in predictions:
        sample = next(rest, None)
        if sample is not None and prediction.error is None:
            _save(prediction, sample, task, names, folder, taken)
        yield prediction


def require_empty(folder: Path) -> None:
    """Raise VitrailError if a folder has files already, which would be mixed with new ones."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise VitrailError(f"{folder} is there already and is no empty folder: name another one")
    folder.mkdir(parents=True, exist_ok=True)


def _save(
    prediction: Prediction, sample: Sample, task: PlacedTask, names: Names, folder: Path, taken: set[str]
) -> None:
    image = displayable(read_image(sample))
    stem = _free(Path(sample.name).stem or "image", taken)
    for suffix, content in task.drawn(image, prediction, names).items():
        (folder / f"{stem}{suffix}").write_bytes(content)


def _free(stem: str, taken: set[str]) -> str:
    """A name that no earlier picture has, in any case: cat, cat-2, cat-3."""
    stem = stem.replace(os.sep, "_")
    found, number = stem, 1
    while found.casefold() in taken:
        number += 1
        found = f"{stem}-{number}"
    taken.add(found.casefold())
    return found
