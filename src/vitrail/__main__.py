"""Entry point of `python -m vitrail`."""

from .cli.main import main

main()
