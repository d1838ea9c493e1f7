"""The command line: one command, one file; this one joins them and speaks of failures."""

import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

from ..errors import VitrailError
from .convert import Convert
from .eval import Eval
from .explain import Explain
from .models import Models
from .plan import Plan
from .predict import Predict
from .train import Train

Command = (
    Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Eval, tyro.conf.subcommand("eval")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Explain, tyro.conf.subcommand("explain")]
    | Annotated[Models, tyro.conf.subcommand("models")]
    | Annotated[Plan, tyro.conf.subcommand("plan")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
)
_DESCRIPTION = "Vision Transformers: train one on your own pictures, see what it sees, put it to work."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit status: 0 done, 1 failed with a sentence, 2 wrong usage, 130 stopped by the user."""
    command = tyro.cli(
        Command,  # type: ignore[arg-type]
        prog="vitrail",
        description=_DESCRIPTION,
        args=list(sys.argv[1:] if arguments is None else arguments),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    warnings.showwarning = _show_warning
    sys.exit(_run(command))


def _run(command: Any) -> int:
    try:
        command.run()
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "stopped", status=130)
    except BrokenPipeError:
        # The reader of our output has gone, as in `vitrail predict … | head`; nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (VitrailError, OSError, ValueError) as error:
        return _fail(str(error))
    except ImportError as error:
        return _fail(f"{error.name or error} is not installed: {error}")
    except MemoryError:
        return _fail("the memory does not suffice: use a smaller --batch-size, or see what fits with `vitrail plan`")
    except Exception as error:  # the last door: whatever comes, a person reads it
        return _fail(_unexpected(error))
    return 0


def _fail(message: str, status: int = 1) -> int:
    print(f"vitrail: {message}", file=sys.stderr)
    return status


def _unexpected(error: Exception) -> str:
    text = str(error).strip()
    if "out of memory" in text.lower():
        return "the device's memory does not suffice: use a smaller --batch-size, or see what fits with `vitrail plan`"
    with tempfile.NamedTemporaryFile("w", prefix="vitrail-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    first = text.splitlines()[0] if text else "no message"
    return f"{type(error).__name__}: {first}. This looks like a fault of vitrail; the details are in {file.name}"


def _show_warning(message: Any, *details: Any) -> None:
    """Warnings as sentences, without the line of source that raised them."""
    print(f"vitrail: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
