"""Reads the source of recipe field `knn`."""

from dataclasses import replace

from ..data.seeds import derive
from ..errors import VitrailError
from ..progress import Track, silent
from ..task_spec import VIDEO
from ..tasks.classification import Classification
from .knn_images import KnnImages
from .recipe import Recipe
from .run_facts import absolute
from .setup import RunSetup
from .training_data import Reading, read_data

MOST_MEMORY, MOST_QUERIES = 5_000, 1_000
"""Most images that neighbours are searched among, and most images that are classified by them."""


def with_knn_source(recipe: Recipe, *, labelled: bool) -> Recipe:
    """The recipe with an absolute path in `knn`, so that its run can be resumed from another folder.

    Raises:
        VitrailError: the run learns from labels, whose task measures it.
    """
    if recipe.knn is None:
        return recipe
    if labelled:
        raise VitrailError(f"knn is {recipe.knn}, and this objective learns from labels: leave knn out")
    return replace(recipe, knn=absolute(recipe.knn))


def read_knn(setup: RunSetup, *, skip_bad: bool = False, progress: Track = silent) -> KnnImages | None:
    """Read the source that a run's recipe names for kNN; None if it names none.

    If there are many images, a sample is drawn by the recipe's seed, a smaller one under a time budget.

    Args:
        setup: the run.
        skip_bad: leave out files that cannot be read.
        progress: counts the files that are opened.

    Raises:
        VitrailError: it has no labels of one class for each image, or images of other channels.
    """
    recipe, channels, most = setup.recipe, setup.preprocess.channels, setup.most_evaluated
    if recipe.knn is None:
        return None
    task = VIDEO if setup.data.clips else None
    data = read_data(recipe.knn, Reading(task=task, strict=recipe.strict, skip_bad=skip_bad), progress=progress)
    if not isinstance(data.task, Classification) or data.task.labels != "one":
        raise VitrailError(
            f"{recipe.knn} has no class for each image, by which kNN could measure: name another for knn"
        )
    if data.channels != channels and not {data.channels, channels} <= {1, 3}:
        raise VitrailError(
            f"{recipe.knn} has images of {data.channels} channels, and the model takes {channels}: name another for knn"
        )
    if not len(data.val):
        raise VitrailError(f"{recipe.knn} has no image to classify: name a source with more images for knn")
    limits = (MOST_MEMORY, MOST_QUERIES) if most is None else (min(MOST_MEMORY, 5 * most), min(MOST_QUERIES, most))
    memory = data.train.sampled(limits[0], derive(recipe.seed, "kNN memory"))
    queries = data.val.sampled(limits[1], derive(recipe.seed, "kNN queries"))
    return KnnImages(data.name, data.names, memory, queries, (data.targets(memory), data.targets(queries)))
