"""What pre-training without labels is worth: objectives beside training from scratch with the same total time.

    python benchmarks/pretraining.py run data/cifar10 --objectives dino rotation --minutes 8 --tune-minutes 3 -o FOLDER
    python benchmarks/pretraining.py page FOLDER

Each objective is pre-trained on the training images without labels for `--minutes`. The result is then measured by kNN
and a linear probe, and fine-tuned for `--tune-minutes` with 1, 10 and 100 % of the labels. "scratch" is trained on the
same labels for the sum of both times. The test split is used for the last evaluation of each run only. Finished runs
are left out, so that the command can be repeated; run it on a machine without other load.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import vitrail
from vitrail.data.open import Source, open_source
from vitrail.data.seeds import derive, permutation
from vitrail.progress import to_stderr, visible
from vitrail.study.probe import study_probe
from vitrail.training.recipe import Recipe
from vitrail.training.recipe_file import pretraining_recipe

SHARES = (0.01, 0.1, 1.0)
PLAIN = {"patch_size": 4, "embed_dim": 192, "num_heads": 3, "depth": 6}
"""A plain ViT, for objectives that need one."""


def labelled(source: Source, share: float, seed: int) -> Source:
    """The source with a share of its training images, the same of each class, and all of its test images."""
    kept = [sample for sample in source.samples if sample.split == "test"]
    for label in range(len(source.class_names)):
        own = [sample for sample in source.samples if sample.split == "train" and sample.labels == (label,)]
        count = max(2, round(share * len(own)))
        kept += [own[place] for place in permutation(len(own), derive(seed, "labels", label))[:count]]
    return replace(source, samples=tuple(kept))


def unlabelled(source: Source) -> Source:
    """The training images of the source."""
    return replace(source, samples=tuple(sample for sample in source.samples if sample.split == "train"))


def model_settings(name: str, variant: str) -> dict[str, Any]:
    """Model of an objective: mae has a plain ViT."""
    if name in ("mae", "scratch-vit"):
        return {"model": "vit_tiny_patch16_224", "overrides": PLAIN, "image_size": 32}
    return {"model": variant}


def record(path: Path, **numbers: Any) -> None:
    """Write numbers to a JSON file; a file that is there means that the work was done."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(numbers, indent=2) + "\n")


def pretrained(name: str, source: Source, given: argparse.Namespace) -> Path:
    """The pre-training run of an objective; made if it is not there."""
    out = Path(given.out) / name / "pretraining"
    if not (out / "report.html").exists():
        recipe = pretraining_recipe(name)
        recipe = replace(recipe, minutes=given.minutes, seed=given.seed, **model_settings(name, given.model))
        vitrail.pretrain(unlabelled(source), recipe, out=out, progress=visible, say=to_stderr)
    return out


def probed(run: Path, source: str, file: Path) -> None:
    """kNN and linear accuracy of the frozen features."""
    if not file.exists():
        (found,) = study_probe(vitrail.load(run), [source], progress=visible).sources
        record(file, rows={score.name: score.value for score in found.scores})


def tuned(name: str, share: float, source: Source, given: argparse.Namespace, start: Path | None) -> None:
    """Fine-tuning of a run, or training from scratch, with a share of the labels."""
    folder = Path(given.out) / name
    file, minutes = folder / f"tuned-{share:g}.json", given.tune_minutes + (0 if start else given.minutes)
    if file.exists():
        return
    recipe = Recipe(minutes=minutes, seed=given.seed, **({} if start else model_settings(name, given.model)))
    started = time.monotonic()
    run = vitrail.train(
        labelled(source, share, given.seed), recipe, weights=start, out=folder / f"tuned-{share:g}", say=to_stderr
    )
    record(file, top1=run.metrics["test_top1"], minutes=(time.monotonic() - started) / 60)


def run(given: argparse.Namespace) -> None:
    """All runs that are not there yet."""
    source = open_source(given.source)
    for name in given.objectives:
        start = None
        if not name.startswith("scratch"):
            start = pretrained(name, source, given)
            probed(start, given.source, Path(given.out) / name / "probe.json")
        for share in given.shares:
            tuned(name, share, source, given, start)


def page(folder: Path) -> str:
    """Markdown table of what is there."""
    lines = ["| objective | kNN, k = 20 | linear | " + " | ".join(f"{share:.0%} of labels" for share in SHARES) + " |"]
    lines.append("|---" * (3 + len(SHARES)) + "|")
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        probe = place / "probe.json"
        rows = json.loads(probe.read_text())["rows"] if probe.exists() else {}
        cells = [_percent(_named(rows, word)) for word in ("k = 20", "linear")]
        for share in SHARES:
            file = place / f"tuned-{share:g}.json"
            cells.append(_percent(json.loads(file.read_text())["top1"] if file.exists() else None))
        lines.append(f"| {place.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _named(rows: dict[str, float], word: str) -> float | None:
    return next((value for name, value in rows.items() if word in name), None)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    work = commands.add_parser("run")
    work.add_argument("source")
    work.add_argument("--objectives", nargs="+", required=True)
    work.add_argument("--model", default="whitened_small_32")
    work.add_argument("--minutes", type=float, default=8)
    work.add_argument("--tune-minutes", type=float, default=3)
    work.add_argument("--shares", nargs="+", type=float, default=SHARES)
    work.add_argument("--seed", type=int, default=0)
    work.add_argument("-o", "--out", required=True)
    commands.add_parser("page").add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    if given.command == "page":
        print(page(given.folder))
    else:
        torch.set_num_threads(2)
        run(given)


if __name__ == "__main__":
    main()
