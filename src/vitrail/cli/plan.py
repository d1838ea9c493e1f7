"""The command `vitrail plan`."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from .options import COMPUTE, Json, Option, Precision


@dataclass
class Plan:
    """Print the parameters, FLOPs and memory of a model without allocating it.

    Examples:
        vitrail plan vit_small_patch16_224
        vitrail plan vit_small_patch16_224 --device cuda --budget 16GB
        vitrail plan runs/flowers
    """

    model: Annotated[str, Option(positional=True)]
    """Variant, such as vit_tiny_patch16_224, see `vitrail models`; or a run, a checkpoint or a hub id."""
    image_size: Annotated[int | tuple[int, int] | None, Option(shown_default="the model's")] = None
    """Side, or height and width, in pixels."""
    num_classes: Annotated[int | None, Option(shown_default="the model's")] = None
    """Number of classes."""
    in_channels: Annotated[int | None, Option(shown_default="the model's")] = None
    """Channels of an image."""
    optimizer: Literal["adamw", "muon"] = "adamw"
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
        from dataclasses import asdict

        from ..planning.budget import parse_bytes
        from ..planning.cost import plan
        from ..planning.plan_table import plan_rows
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
        )
        if self.json:
            print(json.dumps(asdict(cost)))
        else:
            print_table([cost.model, ""], plan_rows(cost))
