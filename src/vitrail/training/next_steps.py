"""What to do with a finished run."""

import json
import shlex

from .folder import DATA
from .run import Run


def commands(run_path: str, source: str) -> list[tuple[str, str]]:
    """(what for, command) of what one does next with a run."""
    run, data = shlex.quote(run_path), shlex.quote(source)
    return [
        ("predict new pictures", f"vitrail predict {run} PICTURES"),
        ("see where it looks", f"vitrail explain {run} PICTURES --out explained"),
        ("measure it", f"vitrail eval {run} {data}"),
        ("train on your own", "vitrail train FOLDER"),
    ]


def next_steps(run: Run) -> str:
    """The result of a run and the commands that follow, as text."""
    source = json.loads((run.path / DATA).read_text(encoding="utf-8"))["source"]
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in run.metrics.items())
    lines = [f"{numbers}", f"report: {run.path / 'report.html'}", ""]
    lines += [f"  {command:<56} # {what}" for what, command in commands(str(run.path), source)]
    return "\n".join(lines)
