"""Commands to use a finished run with."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from ..folder import DATA, RunFolder
from ..run_facts import RunFacts


def commands(run_path: str, source: str, *, predicts: bool = True) -> list[tuple[str, str]]:
    """(purpose, command) pairs for a finished run.

    Args:
        run_path: the run folder.
        source: the training source.
        predicts: False for a run without labels.
    """
    run, data = shlex.quote(run_path), shlex.quote(source)
    if not predicts:
        return [
            ("train on labels from here", f"vitrail train LABELLED --weights {run} --recipe finetune"),
            ("features of images", f"vitrail embed {run} IMAGES -o vectors.npz"),
            ("see where it looks", f"vitrail explain {run} IMAGES -o explained"),
        ]
    return [
        ("predict new images", f"vitrail predict {run} IMAGES"),
        ("see where it looks", f"vitrail explain {run} IMAGES -o explained"),
        ("measure it", f"vitrail eval {run} {data}"),
        ("train on your own", "vitrail train FOLDER"),
    ]


def next_steps(path: Path, metrics: Mapping[str, float]) -> str:
    """Return the result of a run and the next commands as text."""
    made = RunFacts.from_json(RunFolder(path).read_json(DATA))
    lines = [", ".join(f"{name} {value:.4f}" for name, value in metrics.items())]
    lines += [f"report: {path / 'report.html'}", ""]
    steps = commands(str(path), made.source, predicts=made.labelled)
    lines += [f"  {command:<56} # {what}" for what, command in steps]
    return "\n".join(lines)
