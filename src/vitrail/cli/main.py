"""The command line: one command, one file; this one finds the command and speaks of failures."""

import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from ..errors import VitrailError, nearest

COMMANDS = {
    "train": "train a Vision Transformer on labelled pictures: vitrail train photos/",
    "eval": "measure a checkpoint on labelled pictures",
    "predict": "predict the classes of pictures, as a table",
    "explain": "show where every layer and head looks, over the picture",
    "explore": "open a live page: hover a patch, and see where it looks",
    "models": "list the models that can be built, and their cost",
    "plan": "parameters, FLOPs and memory of a model, before it is built",
    "study": "what a model bears, and what its layers know: vitrail study robustness",
    "bench": "measure attentions against plain attention on this machine: vitrail bench attention",
    "convert": "make a checkpoint of weights from elsewhere",
}
"""Each is a file beside this one with a dataclass of the same name, whose fields are the options."""

_DESCRIPTION = "Vision Transformers: train one on your own pictures, see what it sees, put it to work."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit status: 0 done, 1 failed with a sentence, 2 wrong usage, 130 stopped by the user."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        sys.exit(0)
    if name == "--version":
        from .. import __version__

        print(f"vitrail {__version__}")
        sys.exit(0)
    if name not in COMMANDS:
        sys.exit(_fail(f"there is no command {name!r}: {nearest(name, COMMANDS)}", status=2))
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    sys.exit(_run(_parse(name, rest)))


def _help() -> str:
    # Written by hand, so that it does not wait for the parser of options to be imported.
    lines = [_DESCRIPTION, "", "usage: vitrail COMMAND [OPTIONS]", ""]
    lines += [f"  {name:<9} {sentence}" for name, sentence in COMMANDS.items()]
    return "\n".join(
        [*lines, "", "vitrail COMMAND --help tells the options of a command; vitrail --version the version."]
    )


def _parse(name: str, arguments: list[str]) -> Any:
    import tyro

    command = getattr(import_module(f".{name}", __package__), name.capitalize())
    options = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(command, prog=f"vitrail {name}", args=arguments, config=options)


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
