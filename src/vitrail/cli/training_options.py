"""Options that the commands that train share: fields of the recipe, and the run folder."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from .options import COMPUTE, Option, OptionalOut, OptionalPrecision, Strict

if TYPE_CHECKING:
    from ..training.recipe import Recipe
    from ..training.run import Run

LENGTH = "Length"


@dataclass(kw_only=True)
class RecipeOptions:
    """Base class of the commands that train: fields of the recipe that have an option of their own."""

    image_size: Annotated[int | None, Option(metavar="PIXELS")] = None
    """Side of the model's input in pixels."""
    skip_bad: bool = False
    """Skip files that cannot be read, and list them in bad_files.csv, instead of stopping."""
    strict: Strict = True
    set: Annotated[list[str], Option(metavar="FIELD=VALUE")] = field(default_factory=list)
    """Any fields of the recipe, such as lr=1e-3 drop_path=0.1."""
    epochs: Annotated[float | None, Option(section=LENGTH)] = None
    """Passes over the training images."""
    minutes: Annotated[float | None, Option(section=LENGTH)] = None
    """Time budget of the whole run; the number of steps is chosen by the measured speed."""
    batch_size: Annotated[int | None, Option(section=COMPUTE, shown_default="from the data")] = None
    """Images in one step."""
    device: Annotated[str | None, Option("auto, cpu, cuda or cuda:1.", section=COMPUTE, shown_default="auto")] = None
    precision: OptionalPrecision = None
    seed: Annotated[int | None, Option(section=COMPUTE)] = None
    """Seed of all random numbers; the same seed gives the same weights."""
    out: OptionalOut = None
    """Run folder to create, by default runs/SOURCE-N."""

    def with_options(self, recipe: "Recipe", source: str | None = None) -> "Recipe":
        """The recipe with the options of the command line; fields that --set names come last.

        The task whose objective they belong to is inferred from the labels of `source`, unless it is given.
        """
        from ..data.open import open_source
        from ..training.recipe import with_changes
        from ..training.recipe_file import set_fields

        changed = with_changes(recipe, **self.changes())
        return set_fields(changed, self.set, None if source is None else lambda: open_source(source).task)

    def changes(self) -> dict[str, Any]:
        """Fields of the recipe that have an option of their own; None leaves a field as it is."""
        return {
            "image_size": self.image_size,
            "strict": None if self.strict else False,
            "epochs": self.epochs,
            "minutes": self.minutes,
            "batch_size": self.batch_size,
            "device": self.device,
            "precision": self.precision,
            "seed": self.seed,
        }

    def words(self) -> list[str]:
        """The given options as words of a command line, without --set and --out."""
        given = {name: value for name, value in self.changes().items() if value is not None and name != "strict"}
        words = [[f"--{name.replace('_', '-')}", *_words(value)] for name, value in given.items()]
        flags = [*(["--skip-bad"] if self.skip_bad else []), *([] if self.strict else ["--no-strict"])]
        return [*(word for option in words for word in option), *flags]


def _words(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return [str(each) for each in value]
    return [f"{value:g}" if isinstance(value, float) else str(value)]


@dataclass(kw_only=True)
class TrainingOptions(RecipeOptions):
    """Base class of the commands that train one model, or one with several settings."""

    model: Annotated[str | None, Option(metavar="VARIANT")] = None
    """Variant, such as vit_tiny_patch16_224; see `vitrail models`."""
    weights: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Checkpoint to start from: a run, a folder, a file or a hub id."""
    beside: Annotated[list[str], Option(metavar="RUN")] = field(default_factory=list)
    """Other runs whose validation curves the report draws too."""

    def changes(self) -> dict[str, Any]:
        own = {"model": self.model, "weights": self.weights, "beside": tuple(self.beside) or None}
        return {**own, **super().changes()}


def print_result(run: "Run") -> None:
    """Print the result of a run and the next commands."""
    from ..training.publish.next_steps import next_steps

    print(next_steps(run.path, run.metrics))
