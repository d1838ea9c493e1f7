"""The program `vitrail`: runs a command in a process of its own."""

import atexit
import os
import sys
from contextlib import suppress

from .main import main


def program() -> None:
    """Run a command and end the process, without taking the interpreter apart.

    To free the libraries of PyTorch one by one takes up to half a second. All threads have ended and all functions of
    `atexit` have been called before, as this one is registered first.
    """
    status = 1

    def leave() -> None:
        with suppress(OSError, ValueError):  # a closed pipe
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    atexit.register(leave)
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
        raise
