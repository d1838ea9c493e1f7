"""The demonstration behind `make demo`: train on digits and explain the model, in about two minutes."""

import sys
from pathlib import Path

from .main import main

OUT, EXPLAINED = Path("runs/demo"), Path("runs/demo-explained")


def demo() -> None:
    """Train on scikit-learn's handwritten digits, explain a few images, and print commands to try next."""
    if OUT.exists():
        _run("train", "--resume", str(OUT))
    else:
        _run("train", "digits", "--out", str(OUT))
    _run("explain", str(OUT), "digits", "--limit", "6", "--out", str(EXPLAINED))
    print(f"""
The report of the run:       {(OUT / "report.html").resolve()}
Where it looks, as a page:   {EXPLAINED.resolve() / "explain.html"}

Now with your own images, in a folder with one folder for each class:
  source .venv/bin/activate
  vitrail train FOLDER --out runs/mine
  vitrail eval runs/mine FOLDER
  vitrail predict runs/mine IMAGES
  vitrail explain runs/mine IMAGES --out explained""")


def _run(*arguments: str) -> None:
    print(f"\n$ vitrail {' '.join(arguments)}", flush=True)
    try:
        main(arguments)
    except SystemExit as end:
        if end.code:
            sys.exit(end.code)


if __name__ == "__main__":
    demo()
