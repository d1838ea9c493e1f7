"""`vitrail study attribution`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Attribution:
    """Faithfulness of attribution methods: vitrail study attribution runs/flowers flowers/ --masks masks/

    Deletion, insertion and a sanity check for each method, beside a random map and a centred one. With --masks also
    how well its maps find the object.
    """

    checkpoint: tyro.conf.Positional[str]
    """A run, a checkpoint folder or file, or a hub id."""
    source: tyro.conf.Positional[str]
    """A folder with a folder for each class, a CSV, tar shards, or a named set."""
    methods: tuple[str, ...] = ()
    """Methods to score; all of docs/attribution.md by default."""
    masks: Path | None = None
    """A folder with the object of each image, white on black, under the image's own name."""
    split: Literal["auto", "train", "val", "test", "all"] = "auto"
    """Part of the source; auto: test, or val, or all that was not trained on."""
    limit: int | Literal["all"] = 200
    """At most so many images, drawn by seed, or all."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:1."""
    seed: int = 0
    """Seed of everything that is drawn."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("attribution.csv")
    """The table as CSV."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..lens.attribution.methods import METHODS, find_method
        from ..machine.facts import pick_device
        from ..progress import visible
        from ..study.attribution import evaluate_explanations
        from ..study.attribution_table import table, write_csv
        from ..study.robustness_table import check_output
        from ..tables import print_table

        check_output(self.out)
        methods = {name: find_method(name) for name in self.methods or METHODS}
        found = evaluate_explanations(
            load(self.checkpoint),
            self.source,
            methods,
            masks=self.masks,
            split=self.split,
            limit=None if self.limit == "all" else self.limit,
            device=pick_device(self.device),
            seed=self.seed,
            progress=visible,
        )
        write_csv(found, self.out)
        print(f"{found.note}; accuracy {found.top1:.1%}")
        print_table(*table(found))
        for score in found.scores:
            if score.reason:
                print(f"{score.method}: {score.reason}")
        print(f"vitrail: written to {self.out}", file=sys.stderr)
