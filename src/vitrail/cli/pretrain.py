"""The command `vitrail pretrain`."""

import time
from dataclasses import dataclass
from typing import Annotated, Any

from ..progress import to_stderr, visible
from .options import Option
from .training_options import TrainingOptions, print_result


@dataclass(kw_only=True)
class Pretrain(TrainingOptions):
    """Pre-train a Vision Transformer without labels, for fine-tuning on few labels afterwards.

    The source has images in any layout: a folder of any depth, a glob, a CSV, tar shards, or a named data set. Labels
    are ignored. Continue an interrupted run with `vitrail train --resume RUN`, and fine-tune the result with `vitrail
    train LABELLED --weights RUN --recipe finetune`.

    Examples:
        vitrail pretrain photos/ --objective mae --epochs 50
        vitrail pretrain photos/ --objective dino --knn labelled/
        vitrail pretrain clips/ --objective videomae
        vitrail pretrain photos/ --model vit_tiny_patch16_224 --set lr=1e-3
    """

    source: Annotated[str, Option(metavar="SOURCE", positional=True)]
    """Images to train on."""
    objective: Annotated[str | None, Option(shown_default="that of the recipe, or mae")] = None
    """Objective to minimise, such as mae, simmim or dino; docs/tasks.md describes each."""
    knn: Annotated[str | None, Option(metavar="LABELLED")] = None
    """Labelled images on which kNN measures the features at each evaluation; chooses the best checkpoint."""
    recipe: Annotated[str | None, Option(shown_default="that of the objective")] = None
    """A named recipe, a recipe.yaml, or a run folder, to repeat that run."""

    def run(self) -> None:
        started = time.monotonic()
        to_stderr(f"reading {self.source}")  # before the imports, which take seconds on a slow machine
        from ..training.recipe_file import pretraining_recipe
        from ..training.run import pretrain

        run = pretrain(
            self.source,
            self.with_options(pretraining_recipe(self.objective, self.recipe)),
            out=self.out,
            skip_bad=self.skip_bad,
            progress=visible,
            say=to_stderr,
            started=started,
        )
        print_result(run)

    def changes(self) -> dict[str, Any]:
        return {**super().changes(), "knn": self.knn}
