"""The command `vitrail plan`."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from .options import COMPUTE, Json, Option, OptionalOut, Precision
from .results import print_note, print_notes

_SIZES = "Comparing sizes"


@dataclass
class Plan:
    """Print the parameters, FLOPs and memory of a model without allocating it.

    Examples:
        vitrail plan vit_small_patch16_224
        vitrail plan vit_small_patch16_224 --device cuda --budget 16GB
        vitrail plan runs/flowers
        vitrail plan ViT-S/16 --image-sizes 224,384 --patch-sizes 8,16,32 -o plans
    """

    model: Annotated[str, Option(positional=True)]
    """Variant, such as vit_tiny_patch16_224, see `vitrail models`; or a run, a checkpoint or a hub id."""
    image_size: Annotated[int | tuple[int, int] | None, Option(shown_default="the model's")] = None
    """Side, or height and width, in pixels."""
    num_classes: Annotated[int | None, Option(shown_default="the model's")] = None
    """Number of classes."""
    in_channels: Annotated[int | None, Option(shown_default="the model's")] = None
    """Channels of an image."""
    image_sizes: Annotated[tuple[int, ...], Option(metavar="PIXELS", section=_SIZES)] = ()
    """Image sizes to compare, such as 224,384,448."""
    patch_sizes: Annotated[tuple[int, ...], Option(metavar="PIXELS", section=_SIZES)] = ()
    """Patch sizes to compare, such as 8,16,32."""
    beside: Annotated[str, Option(metavar="VARIANT|auto|none", section=_SIZES)] = "auto"
    """Model to show beside it; auto: the ResNet with the nearest FLOPs."""
    measure: Annotated[bool, Option(section=_SIZES)] = False
    """Measure the time on this machine instead of estimating it from the FLOPs."""
    out: Annotated[OptionalOut, Option(section=_SIZES)] = None
    """Folder for plan.html and plan.csv."""
    optimizer: Literal["adamw", "muon", "lamb"] = "adamw"
    """Optimiser in training."""
    ema: bool = True
    """Without memory for averaged weights."""
    checkpointing: bool = False
    """Recompute activations in the backward pass instead of storing them."""
    objective: Annotated[str | None, Option(metavar="NAME")] = None
    """Objective without labels, such as mae or dino: training has its decoder, teacher and views too."""
    budget: Annotated[str | None, Option(metavar="BYTES")] = None
    """Find the largest batch that fits this memory: 16GB, 16GiB or 800MB."""
    batch_size: Annotated[int, Option(section=COMPUTE)] = 32
    """Images in one training step."""
    device: Annotated[str, Option(metavar="DEVICE", section=COMPUTE)] = "cpu"
    """cpu or cuda; need not be present on this machine."""
    precision: Precision = "auto"
    json: Json = False

    def run(self) -> None:
        beside = self.beside not in ("auto", "none")
        if self.image_sizes or self.patch_sizes or self.measure or beside or self.out is not None:
            self._compare()
        else:
            self._plan()

    def _plan(self) -> None:
        from dataclasses import asdict

        from ..planning.budget import parse_bytes
        from ..planning.cost import plan
        from ..planning.plan_table import PART_HEADERS, part_rows, plan_rows
        from ..tables import print_table

        cost = plan(
            self.model,
            image_size=self.image_size,
            num_classes=self.num_classes,
            in_channels=self.in_channels,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            optimizer=self.optimizer,
            ema=self.ema,
            checkpointing=self.checkpointing,
            objective=self.objective,
            budget=parse_bytes(self.budget) if self.budget else None,
            by_part=True,
        )
        if self.json:
            print(json.dumps(asdict(cost)))
        else:
            print_table([cost.model, ""], plan_rows(cost))
            print()
            print_table(PART_HEADERS, part_rows(cost))

    def _compare(self) -> None:
        from dataclasses import asdict

        from ..errors import VitrailError
        from ..planning.comparison import Grid, compare
        from ..planning.comparison_page import comparison_notes, comparison_table, write_comparison
        from ..progress import visible
        from ..tables import check_folder, print_table

        if self.out is not None:
            check_folder(self.out)
        for flag, given in (("--budget", self.budget), ("--objective", self.objective)):
            if given:
                others = "--image-sizes, --patch-sizes, --beside, --measure and -o"
                raise VitrailError(f"{flag} is for one size: leave out {others}")
        if self.image_size and self.image_sizes:
            raise VitrailError("give --image-size or --image-sizes, not both")
        if self.image_size is not None and not isinstance(self.image_size, int):
            raise VitrailError("sizes are compared for square images: use --image-sizes with one number each")
        rows = compare(
            self.model,
            Grid(
                image_sizes=self.image_sizes or ((self.image_size,) if self.image_size else ()),
                patch_sizes=self.patch_sizes,
                beside=self.beside,
                measure=self.measure,
                num_classes=self.num_classes,
                in_channels=self.in_channels,
                batch_size=self.batch_size,
                device=self.device,
                precision=self.precision,
                optimizer=self.optimizer,
                ema=self.ema,
                checkpointing=self.checkpointing,
            ),
            progress=visible,
        )
        if self.out is not None:
            write_comparison(rows, self.out)
            print_note(f"written to {self.out}")
        if self.json:
            print(json.dumps([asdict(row) for row in rows]))
            return
        print_notes(comparison_notes(rows))
        print_table(*comparison_table(rows))
