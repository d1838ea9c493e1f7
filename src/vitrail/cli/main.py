"""The command line: the table of commands, and `main`, which runs one and reports its errors."""

import errno
import gc
import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from ..errors import VitrailError, is_out_of_memory, nearest
from ..machine.allocator import keep_freed_memory
from ..machine.garbage import collection_paused
from ..progress import to_stderr
from ..version import __version__
from .signals import signals_held, terminable


class Command(NamedTuple):
    """A row of the table of commands.

    Attributes:
        name: name of the command; a second word is the name of a subcommand.
        group: heading in `vitrail --help`.
        summary: one line of help.
        module: "file:Class" in this folder: a dataclass whose fields are the options and whose `run()` does the work.
    """

    name: str
    group: str
    summary: str
    module: str


_LEARN, _USE, _UNDERSTAND, _MODELS = "Train and evaluate", "Apply a model", "Explain a model", "Models and machines"

COMMANDS = (
    Command("train", _LEARN, "Train a Vision Transformer on labelled images.", "train:Train"),
    Command("pretrain", _LEARN, "Train a Vision Transformer without labels.", "pretrain:Pretrain"),
    Command("distill", _LEARN, "Train on labels and on the outputs of a teacher.", "distill:Distill"),
    Command("recipes", _LEARN, "List the named recipes for training.", "recipes:Recipes"),
    Command("sweep", _LEARN, "Train with every combination of some settings.", "sweep:Sweep"),
    Command("eval", _LEARN, "Evaluate a checkpoint on labelled images.", "eval:Eval"),
    Command("predict", _USE, "Write predictions for images as a table.", "predict:Predict"),
    Command("embed", _USE, "Compute one vector for each image.", "embed:Embed"),
    Command("optimize", _USE, "Find the fastest way to run a checkpoint here.", "optimize:Optimize"),
    Command("export", _USE, "Write a model for ONNX, OpenVINO, PyTorch, phones or a web page.", "export:Export"),
    Command("explain", _UNDERSTAND, "Show the attention of every layer and head.", "explain:Explain"),
    Command("explore", _UNDERSTAND, "Explore attention on a local page in the browser.", "explore:Explore"),
    Command("study robustness", _UNDERSTAND, "Accuracy on corrupted and adversarial images.", "robustness:Robustness"),
    Command("study layers", _UNDERSTAND, "Accuracy of a probe after each block.", "layers:Layers"),
    Command("study probe", _UNDERSTAND, "kNN, linear and few-shot accuracy of frozen features.", "probe:Probe"),
    Command("study retrieval", _UNDERSTAND, "Images find captions, captions find images.", "retrieval:Retrieval"),
    Command("study anatomy", _UNDERSTAND, "Attention distance, token similarity, positions.", "anatomy:Anatomy"),
    Command("study attribution", _UNDERSTAND, "Faithfulness of attribution methods.", "attribution:Attribution"),
    Command("study labels", _UNDERSTAND, "Labels that are probably wrong, near-duplicates.", "labels:Labels"),
    Command(
        "study data-efficiency", _UNDERSTAND, "Accuracy against the number of images.", "efficiency:DataEfficiency"
    ),
    Command("study scaling", _UNDERSTAND, "Scaling law of the errors of runs.", "efficiency:Scaling"),
    Command("models", _MODELS, "List the models that can be built, and their cost.", "models:Models"),
    Command("plan", _MODELS, "Parameters, FLOPs and memory of a model.", "plan:Plan"),
    Command("advise", _MODELS, "Recommend a model, from measured results.", "advise:Advise"),
    Command("bench models", _MODELS, "Speed of models and engines beside other libraries.", "bench:BenchModels"),
    Command("bench attention", _MODELS, "Speed of attention layers.", "bench:BenchAttention"),
    Command("convert", _MODELS, "Convert weights of other libraries.", "convert:Convert"),
    Command("rename-classes", _MODELS, "Rename the classes of a checkpoint.", "rename_classes:RenameClasses"),
)
"""The commands. Other packages add theirs through the entry points `vitrail.commands` (name = module:Class)."""

_DESCRIPTION = "Vision Transformers: train on your own images, evaluate, explain, convert."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command. Exit status: 0 for success, 1 for an error with a message, 2 for wrong usage, 130 for an
    interrupt."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] != ["bench"]:
        _wait_briefly()
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are not UTF-8, as their own bytes
    try:
        with terminable():
            status = _dispatch(words)
        sys.stdout.flush()  # flush here, where an error of a closed pipe is caught
    except KeyboardInterrupt as stop:
        status = _fail(str(stop) or "stopped", status=130)
    except BrokenPipeError:
        # The reader of the output is closed, as in `vitrail predict … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _wait_briefly() -> None:
    """Let OpenMP's threads spin for a moment while they wait for each other, and then sleep.

    By default they spin for milliseconds, and where other programs want the cores too, they may spend their share of
    the time on that: 60 training steps beside two busy programs took 30 to 185 s, and 27 to 30 s so. If they sleep at
    once, waking them takes half of the time of a small model on idle cores (LOG.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)  # read when torch is imported, by the command's file


_WAITING = {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"}
"""Turns of GNU's OpenMP, and milliseconds of LLVM's and Intel's."""


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"vitrail {__version__}")
        return 0
    if subcommands := [row for row in COMMANDS if row.name.split()[:-1] == words[:1]]:
        if len(words) == 1 or words[1] in ("-h", "--help"):
            print(_overview(subcommands))
            return 0
        name, rest = " ".join(words[:2]), words[2:]
    else:
        name, rest = words[0], words[1:]
    try:
        command = _find(name)
        if "--help" in rest or "-h" in rest:
            from .help import command_help
            from .layout import terminal_width

            print(command_help(name, command, terminal_width()))
            return 0
    except VitrailError as error:
        return _fail(str(error), status=2)
    from .parser import parse

    try:
        filled = parse(command, rest)
    except VitrailError as error:
        return _fail(f"{error} (see vitrail {name} --help)", status=2)
    return _run(filled)


def _find(name: str) -> Any:
    """Return the dataclass of a command, built in or of another package."""
    for row in COMMANDS:
        if row.name == name:
            module, _, attribute = row.module.partition(":")
            return getattr(import_module(f".{module}", __package__), attribute)
    from ..plugins import find_plugin, plugin_names

    found = find_plugin("command", name)
    if found is None:
        names = [*(row.name for row in COMMANDS), *plugin_names("command")]
        if " " in name:  # of a subcommand, the nearest of its sisters
            names = [known for known in names if known.split()[0] == name.split()[0]]
        raise VitrailError(f"there is no command {name!r}: {nearest(name, names)}")
    return found


def _overview(commands: Sequence[Command] = COMMANDS) -> str:
    """Return the commands by group, or the subcommands of a command."""
    from .layout import grouped, terminal_width, wrapped

    groups = dict.fromkeys(row.group for row in commands)
    listed = [(group, [(row.name, row.summary) for row in commands if row.group == group]) for group in groups]
    parent = f"vitrail {commands[0].name.split()[0]}"
    tail = f"`{parent} COMMAND --help` lists the options of a command."
    head = f"Usage: {parent} COMMAND [OPTIONS]"
    if commands is COMMANDS:
        listed += _added()
        head = f"{_DESCRIPTION}\n\nUsage: vitrail COMMAND [OPTIONS]"
        tail = "`vitrail COMMAND --help` lists the options of a command, `vitrail --version` prints the version."
    width = terminal_width()
    return "\n\n".join([wrapped(head, width), grouped(listed, width), wrapped(tail, width)])


def _added() -> list[tuple[str, list[tuple[str, str]]]]:
    """Commands of other packages, read from their metadata without importing them."""
    from ..plugins import plugin_names

    names = [name for name in plugin_names("command") if name not in {row.name for row in COMMANDS}]
    return [("From other packages", [(name, "") for name in names])] if names else []


def _import_torch() -> None:
    """Import PyTorch, which every command of ours needs, without a search for garbage among its objects.

    Each search would go through all of them: during the import they take a seventh of its time. They are also left out
    of later searches.
    """
    if "torch" in sys.modules:
        return
    with collection_paused(), signals_held():
        import torch  # noqa: F401
    gc.freeze()


def _run(command: Any) -> int:
    keep_freed_memory()
    try:
        if type(command).__module__.startswith(f"{__package__}."):
            _import_torch()
        command.run()
    except BrokenPipeError:
        raise
    except ModuleNotFoundError as error:
        return _fail(f"{error.name or error} is not installed: {error}")
    except Exception as error:  # any error becomes a message to the user
        if is_out_of_memory(error):
            return _fail(_NO_MEMORY)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(_DISK_FULL.format(f": {error.filename}" if error.filename else ""))
        return _fail(_message(error) if isinstance(error, VitrailError | OSError | ValueError) else _unexpected(error))
    return 0


_DISK_FULL = (
    "the disk is full{}. What was complete before is unchanged; make space and run the command again, or, for a "
    "training run that has begun, vitrail train --resume RUN"
)


def _message(error: Exception) -> str:
    """The text of an error; if it names only some of the bad files, all of them are written to a table."""
    from ..data.bad_files import BadFiles, write_table

    if not isinstance(error, BadFiles) or error.all_named:
        return str(error)
    return f"{error}\n{write_table(error.bad, error.source)}"


_NO_MEMORY = "not enough memory: use a smaller --batch-size, image or model; `vitrail plan` shows what fits"


def _fail(message: str, status: int = 1) -> int:
    to_stderr(f"vitrail: {message}")
    return status


def _unexpected(error: Exception) -> str:
    import tempfile
    import traceback

    text = str(error).strip()
    with tempfile.NamedTemporaryFile("w", prefix="vitrail-", suffix=".txt", delete=False) as file:
        traceback.print_exception(error, file=file)
    first = text.splitlines()[0] if text else "no message"
    return f"{type(error).__name__}: {first}. This looks like a fault of vitrail; the details are in {file.name}"


def _show_warning(message: Any, *details: Any) -> None:
    """Print a warning without the line of source that raised it."""
    to_stderr(f"vitrail: warning: {message}")


if __name__ == "__main__":
    main()
