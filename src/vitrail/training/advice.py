"""Advice when a run stops for an external reason: lack of memory, files that vanish, a folder that is removed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..data.bad_files import BadFiles, write_bad_files
from ..data.decode import BadImage
from ..errors import VitrailError, is_out_of_memory
from .recipe import Recipe


@contextmanager
def memory_advice(recipe: Recipe) -> Iterator[None]:
    """Context manager in which a lack of memory is a VitrailError that names the settings to change."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise VitrailError(f"memory ran out: {_smaller(recipe)}; `vitrail plan` shows what fits") from error


@contextmanager
def reading_advice(run: Path) -> Iterator[None]:
    """Context manager in which an image that could be read at first, and cannot any more, is named with a way out."""
    try:
        yield
    except BadImage as error:
        raise VitrailError(
            f"{error}, though it could be read when the run began: restore it and go on from the last saved state with "
            f"`vitrail train --resume {run}`"
        ) from error


@contextmanager
def bad_files_listed(run: Path) -> Iterator[None]:
    """Context manager in which all bad files are written to a table beside the place of the run, if an error names
    only some of them."""
    try:
        yield
    except BadFiles as error:
        if error.all_named:
            raise
        listed = run.with_name(f"{run.name}.bad_files.csv")
        listed.parent.mkdir(parents=True, exist_ok=True)
        write_bad_files(listed, error.bad)
        raise VitrailError(f"{error}\nall of them are listed in {listed}") from None


@contextmanager
def no_empty_folder(parent: Path) -> Iterator[None]:
    """Context manager that removes a new, empty folder of runs if the run does not start."""
    existed = parent.exists()
    try:
        yield
    except BaseException:
        if not existed and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
        raise


def _smaller(recipe: Recipe) -> str:
    changes = []
    if recipe.batch_size is not None and recipe.batch_size > 1:
        halves = f"--set batch_size={recipe.batch_size // 2} --set accumulate={2 * recipe.accumulate}"
        changes.append(f"use {halves}, which learns the same")
    if not recipe.checkpoint_activations:
        changes.append("--set checkpoint_activations=true, which takes a third more time")
    if recipe.workers:
        changes.append("fewer --set workers")
    return ", or ".join([*changes, "smaller images or a smaller model"])
