"""Entry point of `python -m vitrail`."""

from .cli.program import program

program()
