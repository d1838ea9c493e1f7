"""What to do with a finished run."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from .folder import DATA


def commands(run_path: str, source: str) -> list[tuple[str, str]]:
    """(what for, command) of what one does next with a run."""
    run, data = shlex.quote(run_path), shlex.quote(source)
    return [
        ("predict new pictures", f"vitrail predict {run} PICTURES"),
        ("see where it looks", f"vitrail explain {run} PICTURES --out explained"),
        ("measure it", f"vitrail eval {run} {data}"),
        ("train on your own", "vitrail train FOLDER"),
    ]


def next_steps(path: Path, metrics: Mapping[str, float]) -> str:
    """The result of a run and the commands that follow, as text."""
    source = json.loads((path / DATA).read_text(encoding="utf-8"))["source"]
    lines = [", ".join(f"{name} {value:.4f}" for name, value in metrics.items())]
    lines += [f"report: {path / 'report.html'}", ""]
    lines += [f"  {command:<56} # {what}" for what, command in commands(str(path), source)]
    return "\n".join(lines)
