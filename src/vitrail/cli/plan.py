"""vitrail plan."""

import json
from dataclasses import dataclass
from typing import Literal

import tyro


@dataclass
class Plan:
    """Say what a model costs, without building it: vitrail plan vit_small_patch16_224 --budget 16GB"""

    model: tyro.conf.Positional[str]
    """Variant, such as vit_tiny_patch16_224; see `vitrail models`."""
    image_size: int | tuple[int, int] | None = None
    """Side, or height and width, in pixels."""
    num_classes: int | None = None
    """Classes to tell apart."""
    in_channels: int | None = None
    """Channels of a picture."""
    batch_size: int = 32
    """Pictures a step."""
    device: str = "cpu"
    """cpu or cuda; it need not be in this machine."""
    precision: str = "auto"
    """auto, float32, bfloat16 or float16."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """What trains it."""
    ema: bool = True
    """Count the average of the weights that training keeps."""
    checkpointing: bool = False
    """Compute activations again in the backward pass, instead of keeping them."""
    budget: str | None = None
    """Find the largest batch that fits, such as 16GB, 16GiB or 800MB."""
    json: bool = False
    """Print JSON instead of a table."""

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
            budget=parse_bytes(self.budget) if self.budget else None,
        )
        if self.json:
            print(json.dumps(asdict(cost)))
        else:
            print_table([cost.model, ""], plan_rows(cost))
