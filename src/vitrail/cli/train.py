"""vitrail train."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro


@dataclass
class Train:
    """Train a Vision Transformer on labelled pictures: vitrail train photos/

    The source is a folder with a folder for each class (with or without train/, val/ and test/ above them), a CSV,
    tar shards, `digits`, or a named set such as cifar10. What is not given is chosen from the data and the machine.
    """

    source: tyro.conf.Positional[str | None] = None
    """Pictures to learn from. Left out with --resume."""
    model: str | None = None
    """Variant, such as vit_tiny_patch16_224; see `vitrail models`."""
    weights: str | None = None
    """Checkpoint to start from: a run, a folder, a file or a hub id."""
    recipe: str = "default"
    """default, finetune, probe, deit, or a recipe.yaml; a run folder repeats that run."""
    epochs: float | None = None
    """Passes over the training pictures."""
    minutes: float | None = None
    """Time budget of the whole run: the speed is measured and fixes the number of steps."""
    batch_size: int | None = None
    """Pictures a step sees at once."""
    image_size: int | None = None
    """Side of the pictures in pixels."""
    seed: int | None = None
    """Another seed gives another run; the same seed gives the same."""
    device: str | None = None
    """auto, cpu, cuda or cuda:1."""
    out: Path | None = None
    """The run folder to make; runs/SOURCE-N by default."""
    resume: Path | None = None
    """Go on with this run, exactly as if it had not been stopped."""
    skip_bad: bool = False
    """Leave out files that cannot be read, and list them in bad_files.csv, instead of stopping."""
    set: list[str] = field(default_factory=list)
    """Any field of the recipe: --set lr=1e-3 augment.mixup=0.2 drop_path=0.1"""

    def run(self) -> None:
        from ..errors import VitrailError
        from ..progress import visible
        from ..training.publish.next_steps import next_steps
        from ..training.recipe import with_changes
        from ..training.recipe_file import read_recipe, set_fields
        from ..training.run import resume, train

        if (self.source is None) == (self.resume is None):
            raise VitrailError("give a source to train on, or --resume RUN to go on with a run")
        if self.resume:
            run = resume(self.resume, progress=visible, say=_say)
        else:
            recipe = with_changes(
                read_recipe(self.recipe),
                model=self.model,
                weights=self.weights,
                epochs=self.epochs,
                minutes=self.minutes,
                batch_size=self.batch_size,
                image_size=self.image_size,
                seed=self.seed,
                device=self.device,
            )
            assert self.source is not None
            run = train(
                self.source,
                set_fields(recipe, self.set),
                out=self.out,
                skip_bad=self.skip_bad,
                progress=visible,
                say=_say,
            )
        print(next_steps(run.path, run.metrics))


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
