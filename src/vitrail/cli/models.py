"""vitrail models."""

import json
from dataclasses import dataclass

import tyro


@dataclass
class Models:
    """List the models that can be built, with their parameters and operations: vitrail models 'deit*'"""

    pattern: tyro.conf.Positional[str] = "*"
    """Shell pattern that the names have to match."""
    json: bool = False
    """Print JSON instead of a table."""

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
