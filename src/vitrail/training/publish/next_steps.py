"""Commands to use a finished run with."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...task_spec import TaskSpec
from ...tasks.registry import resolve
from ..folder import DATA, EVALUATION, RECIPE, RunFolder
from ..recipe_file import read_recipe
from ..run_facts import RunFacts


def reading_flags(*, skip_bad: bool, strict: bool) -> tuple[str, ...]:
    """Flags with which `vitrail eval` reads a source as the run did."""
    return (*(("--skip-bad",) if skip_bad else ()), *(() if strict else ("--no-strict",)))


def commands(
    run_path: str, source: str, *, predicts: bool = True, flags: Sequence[str] = (), predict_flags: str = ""
) -> list[tuple[str, str]]:
    """(purpose, command) pairs for a finished run.

    Args:
        run_path: the run folder; "." for commands that are run in it.
        source: the training source.
        predicts: False for a run without labels.
        flags: see `reading_flags`.
        predict_flags: see `Task`.
    """
    run, data = shlex.quote(run_path), shlex.quote(source)
    if not predicts:
        return [
            ("train on labels from here", f"vitrail train LABELLED --weights {run} --recipe finetune"),
            ("features of images", f"vitrail embed {run} IMAGES -o vectors.npz"),
            ("see where it looks", f"vitrail explain {run} IMAGES -o explained"),
        ]
    return [
        ("predict new images", f"vitrail predict {run} IMAGES {predict_flags}".rstrip()),
        ("see where it looks", f"vitrail explain {run} IMAGES -o explained"),
        ("measure it", " ".join(["vitrail eval", run, data, *flags])),
        ("train on your own", "vitrail train FOLDER"),
    ]


def next_steps(path: Path, metrics: Mapping[str, float]) -> str:
    """Return the result of a run and the next commands as text."""
    made = RunFacts.from_json(RunFolder(path).read_json(DATA))
    lines = [", ".join(f"{name} {value:.4f}" for name, value in metrics.items()), *_worth(path / EVALUATION)]
    lines += [f"report: {path / 'report.html'}", ""]
    recipe = path / RECIPE
    flags = reading_flags(skip_bad=made.skip_bad, strict=read_recipe(str(recipe)).strict if recipe.is_file() else True)
    needed = resolve(TaskSpec.from_dict(made.task)).predict_flags if made.task else ""
    steps = commands(str(path), made.source, predicts=made.labelled, flags=flags, predict_flags=needed)
    lines += [f"  {command:<56} # {what}" for what, command in steps]
    return "\n".join(lines)


def _worth(file: Path) -> list[str]:
    """Lines on the result and what it is worth; none for runs of earlier versions, which lack them."""
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    facts = [f"{name} {value}" for name, value in found.get("facts", [])]
    return [*(["; ".join(facts)] if facts else []), *(f"note: {sentence}" for sentence in found.get("cautions", []))]
