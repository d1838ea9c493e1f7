"""What the named recipes reach: run one on a source and record its result, or write docs/recipes.md.

    python benchmarks/recipes.py run small digits --seeds 0 1 2 -- --epochs 10
    python benchmarks/recipes.py page

A result is recorded in benchmarks/results/recipes.json with its command, commit, processor, minutes, and the mean and
standard deviation of its metrics over the seeds. One of the same command is replaced. A run's metrics are those on the
test split; for images without labels, the loss on the validation split. Other programs on the machine make the minutes
more, and with --minutes the results worse: run on a quiet one.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from vitrail.training.recipes import ALIASES, NAMED_RECIPES, described_recipe

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "benchmarks/results/recipes.json", ROOT / "docs/recipes.md"
_SHOWN = {"top1": "top-1 accuracy", "mean_average_precision": "mean average precision", "loss": "loss"}


def run(name: str, source: str, label: str, seeds: list[int], more: list[str]) -> dict[str, Any]:
    """Run a recipe once for each seed, one after the other, and return its result."""
    words = shlex.split(described_recipe(name).command)[1:]
    for option in {"--model", "--weights"} & set(more) & set(words):
        place = words.index(option)
        words = words[:place] + words[place + 2 :]
    words = [source if word == "SOURCE" else word for word in words] + more
    found, minutes = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            started = time.monotonic()
            command = [sys.executable, "-m", "vitrail", *words, "--seed", str(seed), "-o", str(out)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            minutes.append((time.monotonic() - started) / 60)
            found.append(json.loads((out / "evaluation.json").read_text()))
    metric = next(key for key in _SHOWN if key in found[0])
    values = [evaluation[metric] for evaluation in found]
    return {
        "recipe": name,
        "source": label,
        "command": shlex.join(["vitrail", *[label if word == source else word for word in words]]),
        "metric": _SHOWN[metric],
        "mean": statistics.mean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": seeds,
        "images": found[0]["count"],
        "minutes": round(statistics.mean(minutes), 2),
        **machine(),
    }


def machine() -> dict[str, Any]:
    """Commit, processor, threads and version of PyTorch."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "commit": commit.stdout.strip(),
        "cpu": cpu,
        "threads": int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())),
        "bfloat16": torch.cpu._is_avx512_bf16_supported(),
        "torch": torch.__version__,
    }


def record(result: dict[str, Any]) -> None:
    """Add a result to the file, in place of an earlier one of the same command."""
    kept = [row for row in json.loads(RESULTS.read_text()) if row["command"] != result["command"]]
    order = list(NAMED_RECIPES)
    rows = sorted(
        [*kept, result], key=lambda row: (order.index(ALIASES.get(row["recipe"], row["recipe"])), row["command"])
    )
    RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def page(results: list[dict[str, Any]]) -> str:
    """The page of all recipes with the results that were recorded."""
    parts = [
        "# Recipes",
        "Written by `benchmarks/recipes.py` from the table of `vitrail.training.recipes` and "
        "`benchmarks/results/recipes.json`. `vitrail recipes` lists them, `vitrail recipes NAME` prints one with all "
        "fields, `vitrail train SOURCE --recipe NAME --set FIELD=VALUE` changes some ([runs.md](runs.md)).",
        "Accuracies are those on the test split, mean ± standard deviation over the seeds. The papers' recipes are for "
        "ImageNet and GPUs: their runs of one epoch here show that every field works, not what they reach.",
    ]
    for name, named in NAMED_RECIPES.items():
        others = [other for other, known in ALIASES.items() if known == name]
        also = f" Also `{'`, `'.join(others)}`." if others else ""
        parts += [f"## {name}", f"{named.purpose}{also}", f"```\n{named.command}\n```", f"Source: {named.source}"]
        parts += [_table([row for row in results if ALIASES.get(row["recipe"], row["recipe"]) == name])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = ["| command | result | seeds | minutes | machine |", "|---|---|---|---|---|"]
    for row in rows:
        percent = row["metric"] != "loss"
        scale, unit = (100, " %") if percent else (1, "")
        spread = "" if row["deviation"] is None else f" ± {scale * row['deviation']:.2f}"
        value = f"{row['metric']} {scale * row['mean']:.2f}{spread}{unit} on {row['images']:,} images"
        kind = "bfloat16" if row["bfloat16"] else "without bfloat16"
        threads = f"{row['threads']} thread{'s' * (row['threads'] != 1)}"
        place = f"{row['cpu']}, {threads}, {kind}, torch {row['torch']}, {row['commit']}"
        lines.append(f"| `{row['command']}` | {value} | {len(row['seeds'])} | {row['minutes']:g} | {place} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    runs = commands.add_parser(
        "run", help="run a recipe, record its result, write the page; words of the command follow --"
    )
    runs.add_argument("recipe", choices=[*NAMED_RECIPES, *ALIASES])
    runs.add_argument("source")
    runs.add_argument("--label", help="name of the source in the page; by default the last part of its path")
    runs.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    commands.add_parser("page", help="write the page")
    words = sys.argv[1:]
    place = words.index("--") if "--" in words else len(words)
    options, more = parser.parse_args(words[:place]), words[place + 1 :]
    if options.what == "run":
        label = options.label or Path(options.source).name
        result = run(options.recipe, options.source, label, options.seeds, more)
        record(result)
        print(json.dumps(result, indent=1))
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
