"""The command `vitrail recipes`."""

import json
from dataclasses import dataclass
from typing import Annotated

from .options import Json, Option


@dataclass
class Recipes:
    """List the named recipes, or print one as YAML.

    docs/recipes.md has the results that they reached.

    Examples:
        vitrail recipes
        vitrail recipes imagenet-deit
    """

    name: Annotated[str | None, Option(metavar="RECIPE", positional=True)] = None
    """Recipe to print."""
    json: Json = False

    def run(self) -> None:
        from ..progress import to_stderr
        from ..training.recipe_file import recipe_to_dict, recipe_to_yaml
        from ..training.recipes import NAMED_RECIPES, described_recipe

        if self.name is None:
            rows = [(name, named.purpose, named.command) for name, named in NAMED_RECIPES.items()]
            if self.json:
                keys = ("name", "purpose", "command")
                print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
            else:
                print("\n".join(f"{name:<16}{purpose}" for name, purpose, _ in rows))
            return
        named = described_recipe(self.name)
        if self.json:
            print(json.dumps(recipe_to_dict(named.recipe)))
            return
        for line in (named.purpose, named.source, named.command):
            to_stderr(line)
        print(recipe_to_yaml(named.recipe), end="")
