"""The demonstration behind `make demo`: digits, from nothing to an explained model, in about two minutes."""

import sys
from pathlib import Path

from .main import main

OUT, PICTURES = Path("runs/demo"), Path("runs/demo-explained")


def demo() -> None:
    """Train on scikit-learn's handwritten digits, explain a few, and say what to type next."""
    if OUT.exists():
        _run("train", "--resume", str(OUT))
    else:
        _run("train", "digits", "--out", str(OUT))
    _run("explain", str(OUT), "digits", "--limit", "6", "--out", str(PICTURES))
    print(f"""
The report of the run:       {(OUT / "report.html").resolve()}
Where it looks, as a page:   {PICTURES.resolve() / "explain.html"}

Now with your own pictures, a folder with a folder for each class:
  source .venv/bin/activate
  vitrail train FOLDER --out runs/mine
  vitrail eval runs/mine FOLDER
  vitrail predict runs/mine PICTURES
  vitrail explain runs/mine PICTURES --out explained""")


def _run(*arguments: str) -> None:
    print(f"\n$ vitrail {' '.join(arguments)}", flush=True)
    try:
        main(arguments)
    except SystemExit as end:
        if end.code:
            sys.exit(end.code)


if __name__ == "__main__":
    demo()
