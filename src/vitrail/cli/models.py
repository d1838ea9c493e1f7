"""The command `vitrail models`."""

import json
from dataclasses import dataclass
from typing import Annotated

from .options import Json, Option


@dataclass
class Models:
    """List the available models with their parameters and FLOPs.

    Examples:
        vitrail models
        vitrail models 'deit*'
    """

    pattern: Annotated[str, Option(positional=True)] = "*"
    """Shell pattern for the names."""
    json: Json = False

    def run(self) -> None:
        from ..planning.listing import list_costs
        from ..progress import visible
        from ..tables import print_table

        rows = list_costs(self.pattern, progress=visible)
        if self.json:
            print(json.dumps([row.to_dict() for row in rows]))
            return
        print_table(
            ["model", "parameters (M)", "GFLOPs", "image size"],
            [[row.name, f"{row.parameters / 1e6:.2f}", f"{row.flops / 1e9:.2f}", row.size_words] for row in rows],
        )
