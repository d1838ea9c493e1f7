"""How a recipe has its source read: labels, splits, and the time for it."""

from ..data.seeds import derive
from ..data.survey import Limit
from ..task_spec import VIDEO, TaskSpec
from .recipe import Recipe, chosen, timed
from .training_data import Reading

_READING = 0.2
"""Fraction of a time budget for decoding every image once before training; the images for which there is no time are
left out."""


def reading_of(recipe: Recipe, *, labelled: bool, skip_bad: bool) -> Reading:
    """How a new run with this recipe reads its source.

    Args:
        recipe: the recipe.
        labelled: whether labels are used.
        skip_bad: see `train`.
    """
    return Reading(
        labelled=labelled,
        task=_task_of(recipe, labelled=labelled),
        val=recipe.val,
        test=recipe.test if labelled else 0.0,
        skip_bad=skip_bad,
        strict=recipe.strict,
        limit=reading_limit(recipe),
    )


def _task_of(recipe: Recipe, *, labelled: bool) -> TaskSpec | None:
    """The task to read a source for: the user's, or video for an objective that learns from clips without labels."""
    if recipe.task:
        return TaskSpec.parse(recipe.task)
    return VIDEO if not labelled and chosen(recipe.objective).clips else None


def uses_labels(recipe: Recipe) -> bool:
    """Whether `train` reads labels for this recipe: unless it names an objective that needs none."""
    return recipe.objective is None or bool(recipe.objective.tasks)


def reading_limit(recipe: Recipe, images: int | None = None) -> Limit | None:
    """Limit of the images that are read before training; None: all.

    Args:
        recipe: a new run is limited in time if it has a time budget.
        images: number of images that a run read before it was stopped, if not all.
    """
    seed = derive(recipe.seed, "survey")
    if images is not None:
        return Limit(seed, images=images)
    return Limit(seed, seconds=_READING * 60 * chosen(recipe.minutes)) if timed(recipe) else None
