"""The command `vitrail pretrain`."""

import time
from dataclasses import dataclass, field
from typing import Annotated, Any

from ..progress import to_stderr, visible
from .options import COMPUTE, Option, OptionalOut, OptionalPrecision, Strict

_LENGTH = "Length"


@dataclass
class Pretrain:
    """Pre-train a Vision Transformer without labels, for fine-tuning on few labels afterwards.

    The source has images in any layout: a folder of any depth, a glob, a CSV, tar shards, or a named data set. Labels
    are ignored. Continue an interrupted run with `vitrail train --resume RUN`, and fine-tune the result with `vitrail
    train LABELLED --weights RUN --recipe finetune`.

    Examples:
        vitrail pretrain photos/ --objective mae --epochs 50
        vitrail pretrain photos/ --objective dino --knn labelled/
        vitrail pretrain photos/ --model vit_tiny_patch16_224 --set lr=1e-3
    """

    source: Annotated[str, Option(metavar="SOURCE", positional=True)]
    """Images to train on."""
    objective: Annotated[str | None, Option(shown_default="that of the recipe, or mae")] = None
    """Objective to minimise: mae, simmim, beit, dino, inpaint, jigsaw or rotation; see docs/tasks.md."""
    model: Annotated[str | None, Option(metavar="VARIANT")] = None
    """Variant, such as vit_small_patch16_224 or mae_vit_base_patch16; see `vitrail models`."""
    weights: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Checkpoint of an earlier pre-training to start from."""
    knn: Annotated[str | None, Option(metavar="LABELLED")] = None
    """Labelled images on which kNN measures the features at each evaluation; chooses the best checkpoint."""
    recipe: Annotated[str | None, Option(shown_default="that of the objective")] = None
    """A named recipe, a recipe.yaml, or a run folder, to repeat that run."""
    image_size: Annotated[int | None, Option(metavar="PIXELS")] = None
    """Side of the model's input in pixels."""
    skip_bad: bool = False
    """Skip files that cannot be read, and list them in bad_files.csv, instead of stopping."""
    strict: Strict = True
    set: Annotated[list[str], Option(metavar="FIELD=VALUE")] = field(default_factory=list)
    """Any fields of the recipe, such as lr=1e-3 objective.mask_ratio=0.6."""
    epochs: Annotated[float | None, Option(section=_LENGTH)] = None
    """Passes over the training images."""
    minutes: Annotated[float | None, Option(section=_LENGTH)] = None
    """Time budget of the whole run; the number of steps is chosen by the measured speed."""
    batch_size: Annotated[int | None, Option(section=COMPUTE, shown_default="from the data")] = None
    """Images in one step."""
    device: Annotated[str | None, Option("auto, cpu, cuda or cuda:1.", section=COMPUTE, shown_default="auto")] = None
    precision: OptionalPrecision = None
    seed: Annotated[int | None, Option(section=COMPUTE)] = None
    """Seed of all random numbers; the same seed gives the same weights."""
    out: OptionalOut = None
    """Run folder to create, by default runs/SOURCE-N."""

    def run(self) -> None:
        started = time.monotonic()
        to_stderr(f"reading {self.source}")  # before the imports, which take seconds on a slow machine
        from ..training.publish.next_steps import next_steps
        from ..training.recipe import with_changes
        from ..training.recipe_file import pretraining_recipe, set_fields
        from ..training.run import pretrain

        recipe = with_changes(pretraining_recipe(self.objective, self.recipe), **self._changes())
        run = pretrain(
            self.source,
            set_fields(recipe, self.set),
            out=self.out,
            skip_bad=self.skip_bad,
            progress=visible,
            say=to_stderr,
            started=started,
        )
        print(next_steps(run.path, run.metrics))

    def _changes(self) -> dict[str, Any]:
        """Fields of the recipe with an option of their own."""
        names = (
            "model",
            "weights",
            "knn",
            "epochs",
            "minutes",
            "batch_size",
            "image_size",
            "precision",
            "seed",
            "device",
        )
        given = {name: vars(self)[name] for name in names}
        return given if self.strict else {**given, "strict": False}
