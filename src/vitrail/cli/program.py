"""The program `vitrail`: runs a command in a process of its own."""

import atexit
import os
import sys
from contextlib import suppress

from .main import main

INTERRUPTED = 130


def program() -> None:
    """Run a command and end the process, without taking the interpreter apart.

    To free the libraries of PyTorch one by one takes up to half a second. The process ends in the function of `atexit`
    that is registered here: threads that are no daemons have ended then, and functions that were registered later, by
    the command and its libraries, have been called.
    """
    status = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # a closed pipe
                stream.flush()
        os._exit(status)

    atexit.register(leave)
    try:
        main()
    except SystemExit as end:
        status = 0 if end.code is None else end.code if isinstance(end.code, int) else 1
        raise
    except KeyboardInterrupt:  # while a command was looked for
        status = INTERRUPTED
        raise
